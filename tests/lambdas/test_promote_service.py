"""Promotion: one pointer, moved in order, with its outcome written back."""

import dataclasses
from collections.abc import Sequence

import pytest

from core.errors import DeliveryError
from lambdas.promote.service import (
    Package,
    Stack,
    StackBusyError,
    handle_message,
    promote,
    restore_shift,
    roll_back,
    settle,
)

T = [f"2026-01-01T00:{minute:02d}:00Z" for minute in range(60)]


class FakeRegistry:
    def __init__(self) -> None:
        self.content: dict[str, Package] = {}
        self.writes = 0

    def add(self, version: int, status: str = "Approved", **properties: str) -> str:
        arn = f"arn:aws:sagemaker:eu-west-1:123456789012:model-package/shop-dev/{version}"
        uri = f"s3://b/models/run-{version}/output/model/"
        self.content[arn] = Package(
            arn, version, status, "as the gate said", {"model_uri": uri, **properties}
        )
        return arn

    def get(self, arn: str) -> Package:
        return self.content[arn]

    def packages(self) -> Sequence[Package]:
        return sorted(self.content.values(), key=lambda package: -package.version)

    def record(self, package: Package) -> None:
        self.writes += 1
        self.content[package.arn] = package

    def version(self, number: int) -> Package:
        return next(p for p in self.content.values() if p.version == number)


class FakeServing:
    """A stack whose updates end when the test says so."""

    def __init__(self, model_uri: str = "none", status: str = "CREATE_COMPLETE") -> None:
        self.stack = Stack(status, model_uri)
        self.before = model_uri
        self.updates: list[tuple[str, str]] = []
        self.shift_before = "gradual"
        self.reason = ""
        self.refusal: DeliveryError | None = None
        self.cancelled = False

    def describe(self) -> Stack:
        return self.stack

    def point_to(self, model_uri: str, token: str, shift: str) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.updates.append((model_uri, token))
        self.before, self.shift_before = self.stack.model_uri, self.stack.shift
        self.stack = Stack("UPDATE_IN_PROGRESS", model_uri, shift)

    def cancel(self) -> None:
        self.cancelled = True

    def failure(self, token: str) -> str:
        return self.reason

    def finish(self) -> str:
        self.stack = dataclasses.replace(self.stack, status="UPDATE_COMPLETE")
        return "UPDATE_COMPLETE"

    def fail(self, reason: str) -> str:
        self.reason = reason
        self.stack = Stack("UPDATE_ROLLBACK_COMPLETE", self.before, self.shift_before)
        return "UPDATE_ROLLBACK_COMPLETE"

    @property
    def token(self) -> str:
        return self.updates[-1][1]


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


def put_live(registry: FakeRegistry, serving: FakeServing, version: int, minute: int) -> None:
    """Approve a version and let its update succeed."""
    arn = registry.add(version)
    promote(arn, T[minute], registry, serving)
    settle(serving.finish(), serving.token, T[minute + 1], registry, serving)


def test_an_approval_moves_the_pointer_and_its_outcome_is_written(registry: FakeRegistry) -> None:
    """Approved, started, live; the next one replaces it."""
    serving = FakeServing()
    arn = registry.add(1)
    assert "on its way" in promote(arn, T[0], registry, serving)
    assert registry.version(1).promotion == "started"
    assert serving.updates[0][0] == registry.version(1).model_uri
    settle(serving.finish(), serving.token, T[5], registry, serving)
    assert registry.version(1).promotion == "live"
    assert registry.version(1).properties["live_since"] == T[5]
    put_live(registry, serving, 2, 10)
    assert registry.version(1).promotion == "replaced"
    assert registry.version(2).promotion == "live"
    assert registry.version(1).status == "Approved"
    assert registry.version(1).description == "as the gate said"


def test_an_approval_delivered_twice_updates_once(registry: FakeRegistry) -> None:
    """Queues deliver at least once: before, during and after the update."""
    serving = FakeServing()
    arn = registry.add(1)
    promote(arn, T[0], registry, serving)
    assert "already" in promote(arn, T[0], registry, serving)
    settle(serving.finish(), serving.token, T[5], registry, serving)
    writes = registry.writes
    assert "already" in promote(arn, T[0], registry, serving)
    assert len(serving.updates) == 1
    assert registry.writes == writes, "a write would send another event and never end"


def test_writing_the_outcome_does_not_promote_again(registry: FakeRegistry) -> None:
    """The event that the registry sends for our own write finds everything done."""
    serving = FakeServing()
    put_live(registry, serving, 1, 0)
    arn = registry.version(1).arn
    writes = registry.writes
    assert "live already" in promote(arn, T[9], registry, serving)
    assert (registry.writes, len(serving.updates)) == (writes, 1)


def test_an_older_approval_never_replaces_a_newer_model(registry: FakeRegistry) -> None:
    """A late approval of version 1 leaves version 2 alone and says why on the package."""
    serving = FakeServing()
    old = registry.add(1)
    put_live(registry, serving, 2, 0)
    assert "older" in promote(old, T[9], registry, serving)
    assert registry.version(1).promotion == "superseded"
    assert len(serving.updates) == 1


def test_only_what_is_approved_now_is_promoted(registry: FakeRegistry) -> None:
    """An approval that was taken back before its turn does nothing."""
    serving = FakeServing()
    arn = registry.add(1, status="Rejected")
    assert "Rejected" in promote(arn, T[0], registry, serving)
    assert serving.updates == []


def test_nothing_but_an_approval_makes_a_waiting_version_live(registry: FakeRegistry) -> None:
    """Not a message about it, not the outcome of an update, not a rollback, not a deploy."""
    serving = FakeServing()
    put_live(registry, serving, 1, 0)
    live = serving.stack
    arn = registry.add(2, "PendingManualApproval", doubts="alone:balance")
    waiting = registry.version(2)
    event = {
        "detail-type": "SageMaker Model Package State Change",
        "time": T[5],
        "detail": {"ModelPackageArn": arn, "ModelApprovalStatus": "Approved"},
    }
    assert "nothing to promote" in handle_message(event, registry, serving).message
    for status in ("UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_FAILED"):
        for token in ("", "Console-UpdateStack-0123"):
            settle(status, token, T[6], registry, serving)
    restore_shift(T[7], serving)
    with pytest.raises(DeliveryError, match="approve it instead"):
        roll_back(2, "ops", T[8], registry, serving)
    with pytest.raises(DeliveryError, match="nothing to go back to"):
        roll_back(None, "ops", T[9], registry, serving)
    assert serving.stack == live
    assert registry.version(2) == waiting
    registry.content[arn] = dataclasses.replace(waiting, status="Approved")
    assert "on its way" in promote(arn, T[10], registry, serving)


@pytest.mark.parametrize("status", ["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"])
def test_a_busy_stack_is_waited_for(registry: FakeRegistry, status: str) -> None:
    """Another update goes first; the message comes back."""
    serving = FakeServing(status=status)
    arn = registry.add(1)
    with pytest.raises(StackBusyError):
        promote(arn, T[0], registry, serving)
    assert registry.writes == 0
    serving.stack = Stack("UPDATE_COMPLETE", "none")
    promote(arn, T[0], registry, serving)
    assert len(serving.updates) == 1


def test_the_event_of_our_own_record_starts_nothing_again(registry: FakeRegistry) -> None:
    """It may come while the update runs, or after its rollback but before the outcome's event."""
    serving = FakeServing()
    arn = registry.add(1)
    promote(arn, T[0], registry, serving)
    assert serving.stack.busy
    assert "on its way already" in promote(arn, T[1], registry, serving)
    status = serving.fail("alarm")
    with pytest.raises(StackBusyError, match="not recorded yet"):
        promote(arn, T[1], registry, serving)
    settle(status, serving.token, T[2], registry, serving)
    assert "Rejected" in promote(arn, T[1], registry, serving)
    assert len(serving.updates) == 1


@pytest.mark.parametrize("refusal", [StackBusyError("busy"), DeliveryError("denied")])
def test_a_refused_update_leaves_no_trace(registry: FakeRegistry, refusal: DeliveryError) -> None:
    """An update that was not accepted is not recorded as started."""
    serving = FakeServing()
    serving.refusal = refusal
    arn = registry.add(1)
    with pytest.raises(DeliveryError):
        promote(arn, T[0], registry, serving)
    assert registry.writes == 0, "a write would send another event and never end"


@pytest.mark.parametrize("outcome", ["live", "rolled_back"])
def test_an_attempt_whose_record_was_lost_is_settled(registry: FakeRegistry, outcome: str) -> None:
    """If the function dies after the update began, the outcome's token names the version."""
    serving = FakeServing()
    arn = registry.add(1)
    before = registry.version(1)
    promote(arn, T[0], registry, serving)
    registry.record(before)
    with pytest.raises(StackBusyError):
        promote(arn, T[0], registry, serving)
    status = serving.finish() if outcome == "live" else serving.fail("hook failed")
    for _ in range(2):
        writes = registry.writes
        settle(status, serving.token, T[1], registry, serving)
    assert registry.version(1).promotion == outcome
    assert registry.writes == writes, "the second delivery changes nothing"


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_FAILED"])
def test_a_broken_stack_is_said_to_be_broken(registry: FakeRegistry, status: str) -> None:
    """A stack that takes no update ends in the dead-letter queue with what to do."""
    with pytest.raises(DeliveryError, match="repair or redeploy"):
        promote(registry.add(1), T[0], registry, FakeServing(status=status))


def test_a_package_without_bundle_is_an_error(registry: FakeRegistry) -> None:
    """A package that someone made by hand cannot be promoted."""
    arn = registry.add(1, model_uri="")
    with pytest.raises(DeliveryError, match="where its bundle is"):
        promote(arn, T[0], registry, FakeServing())


def test_a_failed_promotion_is_written_back_and_withdrawn(registry: FakeRegistry) -> None:
    """The package says why, loses its approval, and a late message does not try again."""
    serving = FakeServing()
    put_live(registry, serving, 1, 0)
    arn = registry.add(2)
    promote(arn, T[10], registry, serving)
    settle(serving.fail('golden rows differ, by "0.2"'), serving.token, T[15], registry, serving)
    package = registry.version(2)
    assert package.promotion == "rolled_back"
    assert package.status == "Rejected"
    assert "golden rows differ" in package.description
    assert package.properties["promotion_reason"] == "golden rows differ by 0.2"
    assert registry.version(1).promotion == "live"
    registry.record(dataclasses.replace(package, status="Approved"))
    assert "already acted on" in promote(arn, T[10], registry, serving)
    assert "on its way" in promote(arn, T[20], registry, serving), "a person approves it again"


def test_an_outcome_of_another_update_changes_nothing(registry: FakeRegistry) -> None:
    """A cdk deploy that ends while a promotion runs is not its outcome."""
    serving = FakeServing()
    promote(registry.add(1), T[0], registry, serving)
    settle("UPDATE_COMPLETE", "cdk-deploy-token", T[1], registry, serving)
    assert registry.version(1).promotion == "started"
    settle("UPDATE_IN_PROGRESS", serving.token, T[2], registry, serving)
    assert registry.version(1).promotion == "started"


def test_an_outcome_without_token_is_read_off_the_stack(registry: FakeRegistry) -> None:
    """Where the event carries no token, the stack's parameter tells."""
    serving = FakeServing()
    promote(registry.add(1), T[0], registry, serving)
    settle(serving.finish(), "", T[1], registry, serving)
    assert registry.version(1).promotion == "live"


def test_an_outcome_delivered_twice_is_written_once(registry: FakeRegistry) -> None:
    """The second time nothing is under way."""
    serving = FakeServing()
    put_live(registry, serving, 1, 0)
    writes = registry.writes
    settle("UPDATE_COMPLETE", serving.token, T[1], registry, serving)
    assert registry.writes == writes


def test_a_late_outcome_of_an_earlier_attempt_is_ignored(registry: FakeRegistry) -> None:
    """A version that failed once and is live now stays live when the old news comes again."""
    serving = FakeServing()
    arn = registry.add(1)
    promote(arn, T[0], registry, serving)
    status, token = serving.fail("hook failed"), serving.token
    settle(status, token, T[1], registry, serving)
    registry.record(dataclasses.replace(registry.version(1), status="Approved"))
    promote(arn, T[5], registry, serving)
    settle(serving.finish(), serving.token, T[6], registry, serving)
    settle(status, token, T[1], registry, serving)
    assert registry.version(1).promotion == "live"
    assert registry.version(1).status == "Approved"


def test_a_stack_that_cannot_roll_back_is_recorded_as_failed(registry: FakeRegistry) -> None:
    """UPDATE_ROLLBACK_FAILED is the worst outcome and is told apart."""
    serving = FakeServing()
    promote(registry.add(1), T[0], registry, serving)
    serving.stack = Stack("UPDATE_ROLLBACK_FAILED", "none")
    settle("UPDATE_ROLLBACK_FAILED", serving.token, T[1], registry, serving)
    assert registry.version(1).promotion == "failed"


def test_rollback_puts_the_version_before_back(registry: FakeRegistry) -> None:
    """Back twice goes back twice; what was taken out stays out."""
    serving = FakeServing()
    for version in (1, 2, 3):
        put_live(registry, serving, version, 2 * version)
    for expected in (2, 1):
        outcome = roll_back(None, "ann", T[20 + expected], registry, serving)
        assert (outcome["status"], outcome["to"]) == ("started", expected)
        settle(serving.finish(), serving.token, T[30 + expected], registry, serving)
        assert registry.version(expected).promotion == "live"
    taken_out = registry.version(3)
    assert (taken_out.promotion, taken_out.status) == ("withdrawn", "Rejected")
    assert "ann" in taken_out.description
    assert "Rejected" in promote(taken_out.arn, T[6], registry, serving)
    with pytest.raises(DeliveryError, match="nothing to go back to"):
        roll_back(None, "ann", T[40], registry, serving)


def test_rollback_to_a_version_that_was_live(registry: FakeRegistry) -> None:
    """Any version that was live may come back by name, also a newer one."""
    serving = FakeServing()
    for version in (1, 2, 3):
        put_live(registry, serving, version, 2 * version)
    roll_back(1, "ann", T[20], registry, serving)
    settle(serving.finish(), serving.token, T[21], registry, serving)
    assert registry.version(1).promotion == "live"
    assert "already acted on" in promote(registry.version(2).arn, T[4], registry, serving)
    assert roll_back(1, "ann", T[22], registry, serving)["status"] == "unchanged"
    assert roll_back(3, "ann", T[23], registry, serving)["status"] == "started"


def test_a_rollback_moves_all_traffic_at_once_and_the_next_release_does_not(
    registry: FakeRegistry,
) -> None:
    """Nobody waits out a canary to be rid of a bad model; whoever comes next has one again."""
    serving = FakeServing()
    for version in (1, 2):
        put_live(registry, serving, version, 2 * version)
    assert serving.stack.shift == "gradual"
    assert not restore_shift(T[8], serving), "there is nothing to restore"
    roll_back(None, "ann", T[9], registry, serving)
    assert serving.stack.shift == "at_once"
    assert not restore_shift(T[9], serving), "the rollback is under way"
    settle(serving.finish(), serving.token, T[10], registry, serving)
    assert restore_shift(T[10], serving)
    assert serving.stack == Stack("UPDATE_IN_PROGRESS", registry.version(1).model_uri, "gradual")
    writes = registry.writes
    settle(serving.finish(), serving.token, T[11], registry, serving)
    assert not restore_shift(T[11], serving)
    assert registry.writes == writes, "it is nobody's promotion"
    roll_back(2, "ann", T[12], registry, serving)
    settle(serving.finish(), serving.token, T[13], registry, serving)
    promote(registry.add(3), T[14], registry, serving)
    assert serving.stack.shift == "gradual", "a promotion restores it by itself"


def test_our_own_writes_come_to_rest(registry: FakeRegistry) -> None:
    """The registry sends an event for each write to an approved package; they die down."""
    serving = FakeServing()
    echoes: list[str] = []
    write = registry.record

    def record(package: Package) -> None:
        write(package)
        if package.status == "Approved":
            echoes.append(package.arn)

    registry.record = record  # type: ignore[method-assign]
    minute = 0
    for version in (1, 2, 3):
        put_live(registry, serving, version, minute)
        minute += 2
    roll_back(None, "ann", T[minute], registry, serving)
    settle(serving.finish(), serving.token, T[minute + 1], registry, serving)
    updates = len(serving.updates)
    for _ in range(50):
        if not echoes:
            break
        promote(echoes.pop(0), T[minute + 2], registry, serving)
    assert echoes == []
    assert len(serving.updates) == updates
    assert [registry.version(v).promotion for v in (1, 2, 3)] == ["replaced", "live", "withdrawn"]


def test_a_rollback_that_broke_off_still_withdraws(registry: FakeRegistry) -> None:
    """If the function dies after the update began, the outcome withdraws the newer version."""
    serving = FakeServing()
    put_live(registry, serving, 1, 0)
    put_live(registry, serving, 2, 2)
    taken_out = registry.version(2)
    roll_back(None, "ann", T[5], registry, serving)
    registry.record(taken_out)
    settle(serving.finish(), serving.token, T[6], registry, serving)
    found = registry.version(2)
    assert (found.promotion, found.status) == ("withdrawn", "Rejected")


def test_rollback_refuses_what_was_never_live(registry: FakeRegistry) -> None:
    """A rejected model does not get in by the back door."""
    serving = FakeServing()
    put_live(registry, serving, 1, 0)
    registry.add(2, status="Rejected")
    with pytest.raises(DeliveryError, match="never live"):
        roll_back(2, "ann", T[9], registry, serving)
    with pytest.raises(DeliveryError, match="there is no version 9"):
        roll_back(9, "ann", T[9], registry, serving)


def test_rollback_during_a_promotion_cancels_it(registry: FakeRegistry) -> None:
    """While traffic still moves, the update itself is taken back and its outcome written."""
    serving = FakeServing()
    put_live(registry, serving, 1, 0)
    promote(registry.add(2), T[10], registry, serving)
    assert roll_back(None, "ann", T[11], registry, serving)["status"] == "cancelled"
    assert serving.cancelled
    settle(serving.fail("cancelled"), serving.token, T[12], registry, serving)
    assert registry.version(2).promotion == "rolled_back"


def test_rollback_waits_for_an_update_that_is_past_cancelling(registry: FakeRegistry) -> None:
    """CloudFormation cancels an update in progress, and none that cleans up or goes back."""
    for status in ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_ROLLBACK_IN_PROGRESS"):
        serving = FakeServing()
        put_live(registry, serving, 1, 0)
        promote(registry.add(2), T[10], registry, serving)
        serving.stack = dataclasses.replace(serving.stack, status=status)
        with pytest.raises(StackBusyError):
            roll_back(None, "ann", T[11], registry, serving)
        assert not serving.cancelled


def test_rollback_waits_for_a_deploy(registry: FakeRegistry) -> None:
    """An update that is no promotion is not cancelled."""
    serving = FakeServing()
    put_live(registry, serving, 1, 0)
    serving.stack = Stack("UPDATE_IN_PROGRESS", serving.stack.model_uri)
    with pytest.raises(StackBusyError):
        roll_back(None, "ann", T[9], registry, serving)
    assert not serving.cancelled


def test_messages_are_told_apart(registry: FakeRegistry) -> None:
    """The queue carries approvals and stack outcomes; anything else is an error."""
    serving = FakeServing()
    arn = registry.add(1)
    handle_message(
        {
            "detail-type": "SageMaker Model Package State Change",
            "time": T[0],
            "detail": {"ModelPackageArn": arn, "ModelApprovalStatus": "Approved"},
        },
        registry,
        serving,
    )
    handle_message(
        {
            "detail-type": "CloudFormation Stack Status Change",
            "time": T[1],
            "detail": {
                "status-details": {"status": serving.finish()},
                "client-request-token": serving.token,
            },
        },
        registry,
        serving,
    )
    assert registry.version(1).promotion == "live"
    with pytest.raises(DeliveryError, match="unknown"):
        handle_message({"detail-type": "Scheduled Event"}, registry, serving)
