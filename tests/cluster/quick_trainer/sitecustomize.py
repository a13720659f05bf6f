"""On PYTHONPATH, this puts a trainer in place of lop.train that trains nothing: a hundred jobs need not import torch.

It claims, checkpoints and releases its run folders like the real one; a learning rate above 1 fails.
"""

from __future__ import annotations

import sys
import types


def train(config) -> int:
    from lop.run.checkpoint import save_checkpoint
    from lop.run.owner import claim
    from lop.run.store import folder_for

    poisoned = config.ppo.learning_rate > 1
    for seed in config.seeds:
        folder = folder_for(config.runs_dir, config.env.name, config.algo.name, config.name, seed)
        owner = claim(folder)
        if not poisoned:
            meta = {"update": config.num_updates, "global_step": config.total_steps, "offsets": {}}
            save_checkpoint(folder, {}, meta, fence=owner.check)
        owner.release("failed" if poisoned else "finished", "its weights are no longer finite" * poisoned)
    return int(poisoned)


quick = types.ModuleType("lop.train")
quick.train = train
sys.modules["lop.train"] = quick
