"""Quality over the number of source frames: one fold, scored on its way."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from experiments.long_sequences.study import Part, Row, State, Study, by, curves, mean, words

LOSS_DB = 0.1  # below its best that counts as getting worse


def run(study: Study) -> list[Row]:
    """A row for each system, person and number of frames."""
    rows, counts = [], study.amounts.counts
    for sitting in study.sittings("quality"):
        state = State()
        for count in range(1, counts[-1] + 1):
            state = sitting.fold(state, count - 1)
            if count in counts:
                # whole windows are added up here, so that they are seen once
                state = sitting.maps(state)[1]
                row = {"system": sitting.system.name, "person": sitting.person.name}
                row |= {"frames": count, **sitting.score(state)}
                bare = sitting.person.score(sitting.images(state, colours=False))
                rows.append({**row, "psnr_without_colours": bare["psnr"]})
    return rows


def answer(rows: Sequence[Row]) -> str:
    """Who is best at the end, and who gets worse on the way there."""
    ends = {
        system: mean([row for row in some if row["frames"] == rows[-1]["frames"]], "psnr").mean
        for system, some in by(rows, "system").items()
    }
    best = max(ends, key=lambda name: ends[name])
    return (
        f"At {rows[-1]['frames']} frames {best} has the highest PSNR, {ends[best]:.2f} dB; more "
        f"than {LOSS_DB} dB below the best of its curve: {words(_worse(rows, 'psnr'))}, and "
        f"without the observed colours: {words(_worse(rows, 'psnr_without_colours'))}."
    )


def _worse(rows: Sequence[Row], metric: str) -> list[str]:
    """Who has lost more than LOSS_DB at the end, how much, and since when."""
    found = []
    for system, some in by(rows, "system").items():
        means = {count: mean(at, metric).mean for count, at in by(some, "frames").items()}
        best = max(means, key=lambda count: means[count])
        loss = means[best] - means[rows[-1]["frames"]]
        if loss > LOSS_DB:
            found.append(f"{system} (-{loss:.2f} dB since {best} frames)")
    return found


def draw(axes: Sequence[Axes], rows: Sequence[Row]) -> None:
    """PSNR, with and without the observed colours, and SSIM over the number of frames."""
    for axis, metric in zip(axes, ("psnr", "psnr_without_colours", "ssim"), strict=True):
        curves(axis, rows, "frames", metric)
        axis.set_xscale("log", base=2)
    axes[0].legend(fontsize=7)


PART = Part(
    "How good is the avatar after 1, 2, 4 ... frames, far beyond the length of training?",
    run,
    answer,
    ("PSNR of held-out frames (dB)", "PSNR without the observed colours (dB)", "SSIM"),
    draw,
)
