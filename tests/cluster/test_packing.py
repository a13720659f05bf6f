"""Runs to jobs, by hand."""

from __future__ import annotations

import itertools

import pytest

from lop.cluster.packing import PROCESS_GB, SEED_GB, Population, Room, Work, hours, pack, shape, split


def sizes(jobs):
    return [[len(population.seeds) for population in job] for job in jobs]


def test_thirty_seeds_on_fifteen_cores_are_two_jobs_of_one_run_a_core():
    work = Work("a", [(seed, 1e6) for seed in range(30)])
    assert sizes(pack([work], Room(processes=15))) == [[1] * 15, [1] * 15]


def test_thirty_seeds_on_one_gpu_each_share_it_by_ten():
    work = Work("a", [(seed, 1e6) for seed in range(30)])
    assert sizes(pack([work], Room(processes=1, seeds_per_process=10))) == [[10], [10], [10]]


def test_populations_differ_by_one_member_at_most():
    # 11 seeds, at most 4 a process: 3 processes of 4, 4, 3 and not 4, 4, 2, 1
    parts = split(Work("a", [(seed, 1.0) for seed in range(11)]), 4)
    assert [len(part.seeds) for part in parts] == [4, 4, 3]


def test_no_process_mixes_configurations():
    works = [Work("a", [(0, 1.0)]), Work("b", [(0, 1.0)]), Work("c", [])]
    jobs = pack(works, Room(processes=1, seeds_per_process=8))
    assert [(p.key, p.seeds) for job in jobs for p in job] == [("a", (0,)), ("b", (0,))]


def test_jobs_hold_processes_that_end_together():
    # 8, 4, 2, 1 steps on two cores: {8, 4} and {2, 1}, never {8, 1}
    works = [Work(key, [(0, steps)]) for key, steps in (("a", 1.0), ("b", 8.0), ("c", 2.0), ("d", 4.0))]
    assert [[p.key for p in job] for job in pack(works, Room(processes=2))] == [["b", "d"], ["c", "a"]]


def test_members_of_a_process_have_similar_amounts_left():
    # seeds 1 and 3 have almost finished: together, so that the others need not wait for nobody
    work = Work("a", [(0, 100.0), (1, 5.0), (2, 100.0), (3, 5.0)])
    assert [part.seeds for part in split(work, 2)] == [(0, 2), (1, 3)]


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (Room(processes=4, seeds_per_job=8), (4, 2)),
        (Room(processes=4, seeds_per_job=10), (4, 2)),  # no process may be larger than the others' share
        (Room(processes=4, seeds_per_job=2), (2, 1)),
        (Room(processes=1, seeds_per_process=5, seeds_per_job=3), (1, 3)),
        # room for one process of one seed and no more
        (Room(processes=4, memory_gb=PROCESS_GB + SEED_GB), (1, 1)),
        # for one process of three seeds: the GPU's population shrinks
        (Room(processes=1, seeds_per_process=10, memory_gb=PROCESS_GB + 3 * SEED_GB), (1, 3)),
        (Room(processes=2, seeds_per_process=10, memory_gb=2 * (PROCESS_GB + 3 * SEED_GB)), (2, 3)),
    ],
)
def test_what_a_job_holds(room, expected):
    assert shape(room) == expected


def test_too_little_memory_for_anything_is_refused():
    with pytest.raises(ValueError, match="one seed needs"):
        shape(Room(processes=1, memory_gb=0.1))


def test_every_seed_is_sent_once_and_no_job_is_too_large():
    for processes, members, seeds, configurations in itertools.product((1, 3), (1, 2, 7), (1, 5, 8), (1, 3)):
        works = [Work(str(k), [(seed, float(seed + k)) for seed in range(seeds)]) for k in range(configurations)]
        jobs = pack(works, Room(processes, members))
        sent = sorted((p.key, seed) for job in jobs for p in job for seed in p.seeds)
        assert sent == sorted((str(k), seed) for k in range(configurations) for seed in range(seeds))
        assert all(len(job) <= processes and all(len(p.seeds) <= members for p in job) for job in jobs)


def test_a_job_takes_as_long_as_its_longest_process():
    # two members of 3600 steps each, one step a second each: one hour
    assert hours([Population("a", (0, 1), 7200.0), Population("b", (0,), 1800.0)], 1.0) == 1.0
