"""`transmeta policy`: the policy learns from what was tried, its versions, and the way back."""

import dataclasses
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transmeta.cli.options import DEFAULT_WORKSPACE, AsJson, Seed, StoreUrl, WorkspaceFolder, open_workspace
from transmeta.cli.output import only_results_on_stdout, print_json, print_pairs, print_table, say, shown
from transmeta.errors import InputError, TransmetaError

if TYPE_CHECKING:
    from transmeta.policies.versions import PolicyVersion
    from transmeta.workspace import Workspace


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PolicyUpdateReport:
    """What `policy update` did.

    Attributes:
        accepted: whether the new policy is in force.
        version: that is in force now.
        before, after: anytime regret over ten trials on data sets that were left out; None where there is nothing to
            compare.
        tolerance: one standard error of the difference, by which `after` may exceed `before`.
        trials: in the store.
        new_targets: of `targets`, those that the policy before did not know as well.
        seconds: of wall time.
    """

    accepted: bool
    version: int | None
    before: float | None
    after: float | None
    tolerance: float
    trials: int
    targets: int
    data_sets: int
    new_targets: int
    seconds: float
    policy: str


def update(
    workspace: WorkspaceFolder = DEFAULT_WORKSPACE,
    store: StoreUrl = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Learn from all trials in the store, beside what the policy knows. It is used if it is not worse on left-out data.

    Example: transmeta policy update
    """
    with only_results_on_stdout():
        report = _update(open_workspace(workspace, store=store), seed=seed)
    if report is None:
        raise InputError(
            "policy update: the store has nothing that the policy does not know; a target counts with two finished "
            "trials of different choices: run adapt, search or collect first"
        )
    if as_json:
        print_json(report)
        return
    verdict = "accepted" if report.accepted else "not accepted, the policy stays as it was"
    compared = (
        "nothing to compare with"
        if report.before is None
        else f"{shown(report.before)} -> {shown(report.after)} (one standard error {shown(report.tolerance)})"
    )
    print_pairs(
        [
            ("policy", f"version {report.version} in {report.policy}"),
            ("regret left out", f"{compared}: {verdict}"),
            ("targets", f"{report.targets} of {report.data_sets} data sets, {report.new_targets} of them new"),
            ("trials", str(report.trials)),
            ("seconds", f"{report.seconds:.1f}"),
        ]
    )


def versions(workspace: WorkspaceFolder = DEFAULT_WORKSPACE, as_json: AsJson = False) -> None:
    """List the versions of the workspace's policy. Of those that updates made, the newest twenty are kept.

    Example: transmeta policy versions
    """
    with only_results_on_stdout():
        known = open_workspace(workspace, store=None).policy_versions.known()
    if as_json:
        print_json(known)
    elif not known:
        print("No versions yet: the policy of the package is used; see: transmeta policy update --help")
    else:
        columns = ("version", "in force", "origin", "made", "policy", "targets", "regret before", "after")
        print_table(columns, [_row(version) for version in known])


def rollback(
    to: Annotated[
        int | None, typer.Option("--to", metavar="N", help="The version to go back to. By default the one before.")
    ] = None,
    workspace: WorkspaceFolder = DEFAULT_WORKSPACE,
    as_json: AsJson = False,
) -> None:
    """Put an older version of the policy back in force. Nothing is deleted, so it can be undone likewise.

    Example: transmeta policy rollback --to 1
    """
    with only_results_on_stdout():
        opened = open_workspace(workspace, store=None)
        kept = opened.policy_versions
        before = kept.current()
        number = kept.before_current() if to is None else to
        kept.restore(number, proposer=opened.proposer(()))
    if as_json:
        print_json({"before": before, "version": number})
    else:
        print(f"version {number} of the policy is in force" + ("" if before is None else f", in place of {before}"))
        if number != kept.newest():
            say("It stays so: searches do not teach it until transmeta policy update has made a new version.")


def _row(version: "PolicyVersion") -> tuple[str, ...]:
    note = version.note
    return (
        str(version.number),
        "yes" if version.is_current else "no",
        note.origin,
        note.created_at,
        note.policy,
        str(note.targets),
        shown(note.before),
        shown(note.after),
    )


def learn_afterwards(workspace: Path, *, store: str | None, seed: int, is_quiet: bool) -> None:
    """Updates the policy after a search, and says on stderr what came of it; the search stands in any case.

    What somebody chose stays: an older version that was put back, or a policy of another kind.
    """
    sys.stdout.flush()  # the results are complete for whoever reads them
    tell = (lambda text: None) if is_quiet else say
    try:
        opened = open_workspace(workspace, store=store)
        if reason := _chosen_by_hand(opened):
            tell(f"The policy does not learn from it: {reason}; transmeta policy update makes it learn")
            return
        tell("The policy learns from it: some ten seconds (--no-learn leaves it out).")
        with only_results_on_stdout():
            report = _update(opened, seed=seed)
    except (TransmetaError, OSError) as error:
        say(f"The policy did not learn from it: {error}")
    except KeyboardInterrupt:
        say("The policy did not learn from it: interrupted; transmeta policy update does it")
    else:
        tell("It knows as much already." if report is None else _told(report))


def _told(report: PolicyUpdateReport) -> str:
    regret = "" if report.before is None else f" ({_regrets(report)})"
    verdict = f"version {report.version} is in force" if report.accepted else "not accepted, it stays as it was"
    return f"The policy learned from it in {report.seconds:.0f} s: {verdict}{regret}"


def _regrets(report: PolicyUpdateReport) -> str:
    return (
        f"regret left out {shown(report.before)} -> {shown(report.after)}, one standard error {shown(report.tolerance)}"
    )


def _chosen_by_hand(opened: "Workspace") -> str | None:
    """Returns why the policy in force is to stay; None where it may learn by itself."""
    from transmeta.policies.adaptive.policy import AdaptivePolicy
    from transmeta.policies.files import load_policy

    versions = opened.policy_versions
    current, newest = versions.current(), versions.newest()
    if current is not None and current != newest:
        return f"version {current} was put back in force in place of {newest}"
    found = opened.found_policy()
    policy = None if found is None else load_policy(found, proposer=opened.proposer(()))
    if policy is None or isinstance(policy, AdaptivePolicy):
        return None
    return f"the policy in force is of the kind {policy.name}"


def _update(opened: "Workspace", *, seed: int) -> PolicyUpdateReport | None:
    """Updates the policy; None where there is nothing new to learn."""
    from transmeta.experiments.policy_update import extended
    from transmeta.policies.adaptive.learner import AdaptiveLearner
    from transmeta.policies.versions import UPDATE

    started_s = time.monotonic()
    with opened.teaching():
        proposer = opened.proposer(())
        with opened.store() as kept:
            experience = kept.read()
        base, number = opened.keep_policy(), opened.policy_versions.current()
        learner = AdaptiveLearner(proposer=proposer, seed=seed)
        learned = extended(base or learner.initial(), experience, learner=learner)
        if learned is None:
            return None
        gate = learned.gate
        is_compared = gate.before != gate.after or gate.tolerance > 0
        before, after = (gate.before, gate.after) if is_compared else (None, None)
        if gate.is_accepted:
            note = dataclasses.replace(
                opened.note(learned.policy, origin=UPDATE), parent=number, before=before, after=after
            )
            number = opened.policy_versions.add(learned.policy, note)
    return PolicyUpdateReport(
        accepted=gate.is_accepted,
        version=number,
        before=before,
        after=after,
        tolerance=gate.tolerance,
        trials=len(experience),
        targets=learned.targets,
        data_sets=learned.data_sets,
        new_targets=learned.new_targets,
        seconds=round(time.monotonic() - started_s, 1),
        policy=str(opened.policy_folder),
    )
