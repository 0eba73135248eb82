"""What changes again and again is slowed down."""

from itertools import pairwise

from skep.agent.code_watch import CALM, FREE, LONGEST, SOON, Brake


def run(seconds: float, rolls_out_in: float) -> list[float]:
    """Let a program write a file soon after each rollout; return when there was one."""
    brake, moments, now, write_at = Brake(), list[float](), 0.0, 0.0
    while now < seconds:
        changed = {"made.js"} if now >= write_at else set()
        write_at = float("inf") if changed else write_at
        if brake.admit(changed, now):
            moments.append(now)
            write_at = now + rolls_out_in
        now += 0.25
    return moments


def test_a_file_that_every_rollout_writes_rolls_out_ever_more_seldom() -> None:
    """B13: a brake for what a program writes that a plugin has started."""
    moments = run(3600.0, rolls_out_in=1.0)
    pauses = [later - earlier for earlier, later in pairwise(moments)]
    assert pauses[: FREE - 1] == [1.0] * (FREE - 1)
    rest = pauses[FREE - 1 :]
    assert rest[0] == 1.0 + CALM
    assert rest == sorted(rest)
    assert rest[-1] == LONGEST + 1.0
    assert len(moments) < 25


def test_saves_of_a_person_count_at_once() -> None:
    brake = Brake()
    for save in range(50):
        assert brake.admit({"shop.py"}, save * (SOON + 1)) == {"shop.py"}
    for save in range(FREE):
        assert brake.admit({"cart.py"}, 1000.0 + save) == {"cart.py"}


def test_an_editor_that_saves_while_one_types_is_heard_when_one_pauses() -> None:
    brake = Brake()
    for save in range(60):
        brake.admit({"shop.py"}, float(save))
    assert brake.held() == {"shop.py"}
    assert brake.admit(set(), 59.0 + CALM) == {"shop.py"}
    assert not brake.held()


def test_a_held_file_does_not_hold_others() -> None:
    brake = Brake()
    for save in range(FREE + 1):
        brake.admit({"made.js"}, float(save))
    assert brake.admit({"made.js", "shop.py"}, 6.0) == {"shop.py"}
