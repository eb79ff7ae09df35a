"""Validation of prompts, with ComfyUI's error texts."""

from dataclasses import dataclass, field
from typing import Any

from comfysup.demo.nodes import NODES
from comfysup.demo.prompts import Graph

Problem = dict[str, Any]


@dataclass(slots=True)
class Verdict:
    """The output nodes to execute, or the errors as the `error` and `node_errors` of a 400."""

    outputs: list[str]
    error: Problem | None = None
    node_errors: dict[str, Any] = field(default_factory=dict)


NO_PROMPT: Problem = {
    "type": "no_prompt",
    "message": "No prompt provided",
    "details": "No prompt provided",
    "extra_info": {},
}


def validate(graph: Graph, targets: list[str] | None) -> Verdict:
    """Validate a prompt whose output nodes are limited to `targets`, if given."""
    outputs = []
    for node_id in graph:
        name = graph[node_id].get("class_type")
        if name is None:
            missing = "Cannot execute because a node is missing the class_type property."
            return Verdict([], _problem("invalid_prompt", missing, f"Node ID '#{node_id}'"))
        if name not in NODES:
            unknown = f"Cannot execute because node {name} does not exist."
            return Verdict([], _problem("invalid_prompt", unknown, f"Node ID '#{node_id}'"))
        if NODES[name].is_output and (targets is None or node_id in targets):
            outputs.append(node_id)
    if not outputs:
        return Verdict([], _problem("prompt_no_outputs", "Prompt has no outputs"))
    return _check_outputs(graph, outputs)


def _check_outputs(graph: Graph, outputs: list[str]) -> Verdict:
    """Omit the outputs that fail; refuse the prompt if all fail."""
    good: list[str] = []
    failed: dict[str, Any] = {}
    for output in outputs:
        problems = _problems(graph, output)
        if not problems:
            good.append(output)
            continue
        for node_id, errors in problems.items():
            entry = failed.setdefault(node_id, _node_error(graph, node_id, errors))
            entry["dependent_outputs"].append(output)
    if good:
        return Verdict(good, None, failed)
    details = [f"{e['message']}: {e['details']}" for f in failed.values() for e in f["errors"]]
    refusal = "Prompt outputs failed validation"
    error = _problem("prompt_outputs_failed_validation", refusal, "\n".join(details))
    return Verdict([], error, failed)


def _problems(graph: Graph, output: str) -> dict[str, list[Problem]]:
    """Return the problems of a node and of its dependencies, by node."""
    found: dict[str, list[Problem]] = {}
    try:
        _visit(graph, output, found)
    except (KeyError, RecursionError) as error:
        message = "Exception when validating node"
        found[output] = [_problem("exception_during_validation", message, str(error))]
    return found


def _visit(graph: Graph, node_id: str, found: dict[str, list[Problem]]) -> None:
    inputs = graph[node_id]["inputs"]
    for name in NODES[graph[node_id]["class_type"]].required:
        if name not in inputs:
            problem = _problem("required_input_missing", "Required input is missing", name)
            problem["extra_info"] = {"input_name": name}
            found.setdefault(node_id, []).append(problem)
    for needed in links(inputs):
        _visit(graph, needed, found)


def links(inputs: dict[str, Any]) -> list[str]:
    """Return the nodes that the inputs link to; a link is `[node id, output index]`."""
    return [value[0] for value in inputs.values() if isinstance(value, list)]


def _node_error(graph: Graph, node_id: str, errors: list[Problem]) -> dict[str, Any]:
    class_type = graph[node_id]["class_type"]
    return {"errors": errors, "dependent_outputs": [], "class_type": class_type}


def _problem(kind: str, message: str, details: str = "") -> Problem:
    return {"type": kind, "message": message, "details": details, "extra_info": {}}
