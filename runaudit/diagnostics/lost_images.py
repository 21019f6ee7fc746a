"""How many images or boxes a data set may lose before it matters: limits that the checks of labels and images share."""

from __future__ import annotations

from dataclasses import dataclass

from runaudit.diagnostics.evidence import Severity
from runaudit.diagnostics.thresholds import threshold


@dataclass(frozen=True)
class Thresholds:
    major: float = threshold(
        0.1,
        "Share of a split's images. Error falls with the number of images to the power of -0.31 (Hestness et al., "
        "arXiv:1712.00409, image classification): at an error of 0.5, losing 12 % of the images costs 2 points; "
        "rounded "
        "down, since dropped images are rarely a random sample.",
    )
    at_stake: float = threshold(
        0.02, "The report contract's 2 points, for what is lost wholly with each image or box that is affected."
    )


LIMITS = Thresholds()


def severity_of_loss(share: float) -> Severity:
    """`major` from the share of a split's images at which 2 points of mAP are at stake, else `minor`."""
    return "major" if share >= LIMITS.major else "minor"
