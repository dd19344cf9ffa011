"""Signatures of webhooks: the specification's own example, and rotations."""

import base64
import re
import time

from django.conf import settings

from promptops.alerts import signing

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, AT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_example_of_the_reference_libraries():
    """https://github.com/standard-webhooks/standard-webhooks/blob/main/libraries/javascript/src/webhook.test.ts"""
    assert signing.signature(SECRET, ID, AT, BODY) == SIGNATURE
    assert signing.headers([SECRET], ID, AT, BODY) == {
        "webhook-id": ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": SIGNATURE,
    }


def test_id_time_body_and_secret_are_signed():
    other = signing.new_secret()
    changed = [(SECRET, f"{ID}x", AT, BODY), (SECRET, ID, AT + 1, BODY), (SECRET, ID, AT, b"{}"), (other, ID, AT, BODY)]
    assert SIGNATURE not in [signing.signature(*values) for values in changed]


def test_the_example_of_the_docs_checks_a_message():
    (code,) = re.findall(r"```python\n(.*?)```", (settings.BASE_DIR / "docs" / "alerts.md").read_text(), re.DOTALL)
    names: dict = {}
    exec(code, names)
    now, other = int(time.time()), signing.new_secret()
    headers = signing.headers([other, SECRET], ID, now, BODY)
    assert names["is_genuine"](SECRET, headers, BODY)
    assert not names["is_genuine"](signing.new_secret(), headers, BODY)
    assert not names["is_genuine"](SECRET, signing.headers([SECRET], ID, now - 999, BODY), BODY)


def test_a_rotation_signs_with_both_secrets():
    other = signing.new_secret()
    both = signing.headers([other, SECRET], ID, AT, BODY)["webhook-signature"].split(" ")
    assert both == [signing.signature(other, ID, AT, BODY), SIGNATURE]


def test_a_new_secret_has_32_random_bytes():
    first, second = signing.new_secret(), signing.new_secret()
    assert first != second
    assert first.startswith("whsec_")
    assert len(base64.b64decode(first.removeprefix("whsec_"), validate=True)) == 32
