"""Says where progress bars are drawn: on a terminal only, so that they bury no other output."""


def hidden(wanted: bool) -> bool | None:
    """The argument `disable` of tqdm; None hides the bar where stderr is no terminal."""
    return None if wanted else True
