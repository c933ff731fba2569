"""Item response models: 12 runs x 40,000 items and 400 runs x 2,000 items, and girth where it can do the same.

girth (`pip install girth`) multiplies probabilities, which vanish at some hundred items, and takes minutes for what is
larger: it is timed on less. Both fit by marginal maximum likelihood without priors there; their parameters must agree
first.
"""

from __future__ import annotations

import argparse
import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np

from measure import Times, interleaved, markdown, setting
from signoise import _core

if TYPE_CHECKING:
    from numpy.typing import NDArray

NONE = {"discrimination_sd": np.inf, "difficulty_sd": np.inf}


def answers(runs: int, items: int, seed: int = 0) -> NDArray[np.bool_]:
    """Right and wrong of a 2PL; a mid-sized range of discriminations, so that maximum likelihood has a maximum."""
    rng = np.random.default_rng(seed)
    theta, a, b = rng.normal(size=(runs, 1)), np.exp(rng.normal(0, 0.3, items)), rng.normal(size=items)
    right: NDArray[np.bool_] = rng.random((runs, items)) < 1 / (1 + np.exp(-a * (theta - b)))
    return right


def fit(right: NDArray[np.bool_], **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = _core.fit_item_response(
        np.packbits(right, bitorder="little"), None, *right.shape, **options
    )
    return found


def check(right: NDArray[np.bool_], model: str) -> str:
    """Compare with girth; the largest differences of discrimination and difficulty.

    girth's 1PL takes the difficulties from the shares of right answers alone, which is not the maximum of the
    likelihood: they agree less closely.
    """
    import girth

    peer = getattr(girth, f"{model}_mml")(right.astype(int).T)
    found = fit(right, common=model == "onepl", **NONE)
    apart = [
        float(np.abs(found[name.lower()] - peer[name]).max()) for name in ("Discrimination", "Difficulty")
    ]
    if max(apart) > (0.05 if model == "twopl" else 0.1):
        raise SystemExit(f"{model}: parameters differ by {apart}")
    return f"{model}: discriminations within {apart[0]:.1g} of girth's, difficulties within {apart[1]:.1g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer-runs", type=int, default=400)
    parser.add_argument(
        "--peer-items", type=int, default=50, help="items of girth's 2PL; of its 1PL four times as many"
    )
    options = parser.parse_args()
    print(setting(options.repeats))
    large = {"12 x 40,000": answers(12, 40_000), "400 x 2,000": answers(400, 2000)}
    for name, right in large.items():
        found = fit(right)
        print(f"{name}: {found['iterations']} iterations, converged: {found['converged']}")
    jobs = {
        f"{name}, {label}, {threads} thread{'s' * (threads > 1)}": (
            lambda right=right, more=more, threads=threads: fit(right, threads=threads, **more)
        )
        for name, right in large.items()
        for label, more in (("2PL", {}), ("1PL", {"common": True}))
        for threads in (2, 1)
    }
    times: dict[str, Times] = interleaved(jobs, options.repeats)
    rows = [[name, found.wall, found.cpu] for name, found in times.items()]
    if importlib.util.find_spec("girth") is None:
        print("girth is not installed: no peer")
    else:
        import girth

        for model, items in (("twopl", options.peer_items), ("onepl", 4 * options.peer_items)):
            right = answers(options.peer_runs, items, seed=1)
            print(check(right, model))
            shape = f"{options.peer_runs} x {items}, {model}, no priors"
            turned = right.astype(int).T
            peer = getattr(girth, f"{model}_mml")
            both = interleaved(
                {
                    f"{shape}, 1 thread": lambda right=right, model=model: fit(
                        right, common=model == "onepl", threads=1, **NONE
                    ),
                    f"{shape}, girth": lambda peer=peer, turned=turned: peer(turned),
                },
                options.repeats,
            )
            rows += [[name, found.wall, found.cpu] for name, found in both.items()]
    print(
        markdown(
            [{"fit": name, "wall (s)": f"{wall:.3f}", "CPU (s)": f"{cpu:.3f}"} for name, wall, cpu in rows]
        )
    )


if __name__ == "__main__":
    main()
