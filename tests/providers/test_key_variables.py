"""The rules that say which variable may be sent to which host as a key."""

import pytest

from promptops.engine.providers import cerebras, groq
from promptops.engine.providers.key_variables import NEVER, Permitted, vendor_hosts

NOTHING = Permitted.read([])


@pytest.mark.parametrize(
    ("variable", "address"),
    [
        ("CEREBRAS_API_KEY", cerebras.BASE_URL),
        ("GROQ_API_KEY", groq.BASE_URL),
        ("GROQ_API_KEY", "http://127.0.0.1:8080/v1"),
        ("GROQ_API_KEY", "http://localhost:8080/v1"),
        ("OPENAI_API_KEY", "https://API.openai.com/v1"),
        ("VLLM_API_KEY", "http://gpu:8000/v1"),
        ("MY_GATEWAY_API_KEY", "https://gateway.example/v1"),
    ],
)
def test_a_key_is_sent_where_it_belongs(variable: str, address: str) -> None:
    assert NOTHING.problem(variable, address) is None


@pytest.mark.parametrize(
    ("variable", "address"),
    [
        ("AWS_SECRET_ACCESS_KEY", "https://evil.example/v1"),
        ("PGPASSWORD", "http://127.0.0.1:8080/v1"),
        ("GITHUB_TOKEN", "https://evil.example/v1"),
        ("GROQ_API_KEY", "https://evil.example/v1"),
        ("GROQ_API_KEY", "https://api.groq.com.evil.example/v1"),
        ("GROQ_API_KEY", "https://evil.example/api.groq.com"),
        ("OPENAI_API_KEY", "http://169.254.1.1/"),
        ("my_api_key", "https://evil.example/v1"),
        ("HOME", ""),
    ],
)
def test_another_variable_is_not_sent_and_the_message_has_the_entry_to_add(variable: str, address: str) -> None:
    problem = NOTHING.problem(variable, address)
    assert problem is not None
    assert f"{variable}=" in problem
    assert "PROVIDER_KEY_VARIABLES" in problem


@pytest.mark.parametrize("variable", sorted(NEVER))
def test_secrets_of_promptops_are_never_sent(variable: str) -> None:
    assert NOTHING.problem(variable, "http://127.0.0.1/v1")
    assert NOTHING.problem(variable.lower(), "http://127.0.0.1/v1")
    with pytest.raises(ValueError, match="secret of PromptOps itself"):
        Permitted.read([variable])


def test_the_setting_permits_a_name_for_any_host_or_for_one() -> None:
    permitted = Permitted.read(["LLM_TOKEN", "GROQ_API_KEY=gateway.example", "GROQ_API_KEY=10.0.0.0/8"])
    assert permitted.problem("LLM_TOKEN", "https://anywhere.example/v1") is None
    for address in ("https://gateway.example/v1", "http://10.1.2.3/v1", groq.BASE_URL, "http://[::1]:80/v1"):
        assert permitted.problem("GROQ_API_KEY", address) is None, address
    assert permitted.problem("GROQ_API_KEY", "https://evil.example/v1")
    assert permitted.problem("OTHER_TOKEN", "https://anywhere.example/v1")


def test_a_name_that_is_listed_with_a_host_goes_nowhere_else() -> None:
    permitted = Permitted.read(["TEAM_API_KEY=gateway.example"])
    assert permitted.problem("TEAM_API_KEY", "https://gateway.example/v1") is None
    assert permitted.problem("TEAM_API_KEY", "https://evil.example/v1")


@pytest.mark.parametrize("entry", ["A=", "=host", "A B", "NAME=http://x/", ""])
def test_an_invalid_entry_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match=r"PROVIDER_KEY_VARIABLES|neither"):
        Permitted.read([entry])


def test_following_the_remedy_is_enough() -> None:
    """The entry in the message is the entry that permits the variable."""
    problem = NOTHING.problem("LLM_TOKEN", "https://gateway.example/v1") or ""
    entry = next(word for word in problem.split() if word.startswith("LLM_TOKEN="))
    assert Permitted.read([entry]).problem("LLM_TOKEN", "https://gateway.example/v1") is None


def test_each_vendor_of_a_kind_has_its_host() -> None:
    assert vendor_hosts()[cerebras.KEY_ENV] == "api.cerebras.ai"
    assert vendor_hosts()[groq.KEY_ENV] == "api.groq.com"
