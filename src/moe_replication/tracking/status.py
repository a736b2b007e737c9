"""One mirroring and what is left of it on disk: mirror.json, and the mark of the last failure."""

from __future__ import annotations

import time

from moe_replication.config.project import Project
from moe_replication.files import write_json, write_text
from moe_replication.tracking import LAST_FAILURE, TrackingError
from moe_replication.tracking.links import base_address, shown_uri
from moe_replication.tracking.mirror import mirror


def mirror_and_report(project: Project, uri: str) -> str:
    """Mirror and write results/{scale}/mirror.json; a line to print. A store that fails is a warning.

    A failure leaves its mark, which makes the workflow mirror again on the next call.
    """
    results = project.root / "results" / project.scale.name
    status: dict[str, object] = {"uri": shown_uri(uri), "address": base_address(uri)}
    try:
        report = mirror(project, uri)
        counts = {"created": report.created, "updated": report.updated, "unchanged": report.unchanged}
        status |= counts | {"claims": report.claims, "summaries": report.summaries}
        line = f"mirrored into {shown_uri(uri)}: " + ", ".join(f"{count} {name}" for name, count in counts.items())
    except TrackingError as error:
        status["failed"] = str(error)
        write_text(results / LAST_FAILURE, f"{time.time():.0f} {error}\n")
        line = f"warning: MLflow mirror failed ({error}); results are complete, run `moe-replication track` again"
    write_json(results / "mirror.json", status)
    return line
