"""The optimiser: rules that make a plan cheaper and never change its rows."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from cmpi._core.data.plan import Apply, GroupBy, PlanNode, Source, Take
from cmpi._core.data.steps import Filter, Limit, Select, Steps


def optimise(node: PlanNode) -> PlanNode:
    """Return the plan that is actually run for a plan.

    The rules: neighbouring steps are fused into one pipeline; columns and conditions at its beginning are
    pushed down into a columnar source; `take` also limits each split; groups are combined within each
    split before they are shuffled.

    Blocks: never.
    """
    node = _with_parents(node, optimise)
    for rule in (fuse, push_down, limit_splits, combine_first):
        node = rule(node)
    return node


def fuse(node: PlanNode) -> PlanNode:
    """Merge consecutive steps into one pipeline, and drop empty ones."""
    if isinstance(node, Apply) and isinstance(node.parent, Apply):
        node = Apply(node.parent.parent, Steps(node.parent.steps.all + node.steps.all))
    return node.parent if isinstance(node, Apply) and not node.steps.all else node


def push_down(node: PlanNode) -> PlanNode:
    """Move the first steps of a pipeline into a columnar source, as far as it can do them itself."""
    if not (isinstance(node, Apply) and isinstance(node.parent, Source)):
        return node
    reader: Any = node.parent.reader
    steps = list(node.steps.all)
    while steps and hasattr(reader, "where"):
        step = steps[0]
        pushed = None
        if isinstance(step, Select):
            pushed = reader.select(step.names)
        elif isinstance(step, Filter) and step.expression is not None:
            pushed = reader.where(step.expression)
        if pushed is None:
            break
        reader, steps = pushed, steps[1:]
    return fuse(Apply(Source(reader), Steps(tuple(steps))))


def limit_splits(node: PlanNode) -> PlanNode:
    """Limit each split to n rows, because the first n rows are among the first n of each split."""
    if isinstance(node, Take) and not (isinstance(node.parent, Apply) and _is_limited(node.parent)):
        return replace(node, parent=fuse(Apply(node.parent, Steps((Limit(node.n),)))))
    return node


def combine_first(node: PlanNode) -> PlanNode:
    """Combine groups within each split, so that one state for each key and split travels instead of its
    rows. All sinks can be merged."""
    return replace(node, combine=True) if isinstance(node, GroupBy) else node


def _is_limited(node: Apply) -> bool:
    return isinstance(node.steps.all[-1], Limit)


def _with_parents(node: PlanNode, change: Any) -> PlanNode:
    """Return the node with changed parents."""
    changed = {}
    for field in fields(node):  # type: ignore[arg-type]
        value = getattr(node, field.name)
        if isinstance(value, PlanNode):
            changed[field.name] = change(value)
        elif isinstance(value, tuple) and value and isinstance(value[0], PlanNode):
            changed[field.name] = tuple(change(each) for each in value)
    return replace(node, **changed) if changed else node  # type: ignore[type-var]
