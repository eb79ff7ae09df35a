"""Reading the response of `start-instances`."""


def results(answer: dict[str, object]) -> list[dict[str, object]]:
    found = answer["results"]
    assert isinstance(found, list)
    return found


def statuses(answer: dict[str, object]) -> list[object]:
    return [result["status"] for result in results(answer)]
