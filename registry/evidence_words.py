"""The sentences of an evidence bundle: what a certificate covers, and what nothing here can show."""

from collections.abc import Sequence

from lori_core.config import Protection, Read

NOT_COVERED = (
    "Proved means: to the bit, in the reference runtime (fp32 on CPU, one thread, batch 1, no padding, "
    "eager attention, no dropout), with the task id given. A server batches and reorders its sums; "
    "what it answers is measured, never proved.",
    "Probes are a sample of rows; between them, the claim rests on the hashes of everything that "
    "decides an answer.",
    "Scores are estimates on the test rows named here; their intervals speak for rows like these and "
    "for no others.",
    "A test set that was used for many decisions no longer measures what it did; how often it was is "
    "shown with the gate report.",
    "The base model, its training data and its licence terms are known by digest and by what its "
    "owner wrote; they were not examined.",
    "The alias says what was designated to serve. What a server loaded is known where it confirmed "
    "it, and nowhere else.",
    "The log of decisions is a chain of hashes, anchored in a file and in MLflow. Whoever can rewrite "
    "the database and both anchors together can rewrite it unseen.",
    "The signature says that the holder of a key wrote this bundle. Who that is must be learned by "
    "another way than from the bundle.",
)
"""What holds for every bundle."""


def covered(level: str, protection: Protection, read: Read, tasks: int) -> tuple[str, ...]:
    """What a certificate of this level covers."""
    if level == "G0":
        return ("Nothing: tasks write the same entries, and forgetting is measured.",)
    bits = (
        "Every stored bit of A and B of each separate adapter, the base and the scaling are those "
        "certified (hashes)."
        if protection == "separate"
        else "Every protected entry of B, all of A, the base and the scaling are bit-identical to "
        "what was certified for the versions before (hashes)."
    )
    if level == "G1":
        return (
            bits,
            f"Nothing is claimed about answers: a {read} read lets later tasks change them.",
        )
    others = "its task" if tasks == 1 else f"each of its {tasks} tasks"
    return (
        bits,
        f"What {others} computes under the {read} read is bit-identical to what was certified, in "
        "the reference runtime and with the task id given (probe logits).",
    )


def limits(
    *,
    level: str,
    read: Read,
    guards: Sequence[str],
    adopted: Sequence[str],
    unaudited: Sequence[str],
    unlicensed: Sequence[str],
) -> tuple[str, ...]:
    """What this bundle does not show, the general first."""
    found = list(NOT_COVERED)
    if read == "cumulative" or level == "G0":
        found.append(
            "Disjoint masks do not stop forgetting of a cumulative read: later entries reach old "
            "inputs too. Its forgetting is measured here, and proved to be nothing nowhere."
        )
    if read == "isolated":
        found.append(
            "An adapter read alone carries nothing of the tasks before it, safety among them."
        )
    if not guards:
        found.append(
            "The sequence names no guard: how safe the model is under each adapter is not measured."
        )
    if adopted:
        found.append(
            f"Adopted, not trained here: {', '.join(adopted)}. What they were trained on is unknown to "
            "this record; overlap of that with the test rows could not be looked for."
        )
    if unaudited:
        found.append(f"Rows that were not at hand to be audited: {', '.join(unaudited)}.")
    if unlicensed:
        found.append(f"No licence was stated for: {', '.join(unlicensed)}.")
    return tuple(found)
