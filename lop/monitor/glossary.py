"""One row for every key and every per-unit array that the monitor can give: its unit, formula and source.

Documentation and boards are generated from here; `python -m lop.monitor.glossary` prints it as a Markdown table.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Row(NamedTuple):
    """A metric. scope: "layer" (key/layer_i), "network" (one key) or "unit" (an array of report())."""

    key: str
    scope: str
    unit: str
    formula: str
    source: str = ""


LAYER, NETWORK, UNIT = "layer", "network", "unit"
KUMAR, SOKAR = "Kumar et al. 2020, 2010.14498", "Sokar et al. 2023, 2302.12902"
REFERENCE = "Dohare et al. 2024, Nature 632:768"
HE, GARG = "He et al. 2025, 2509.22335", "Garg & Roy 2023, 2307.05831"
GRAMA, KFAC = "2505.24061", "Martens & Grosse 2015, 1503.05671"

GLOSSARY: tuple[Row, ...] = (
    Row("margin/dead_counts", LAYER, "units", "#{j : γ_j <= 0}, γ_j = max_x z_j(x) over the last N inputs"),
    Row("margin/at_risk_counts", LAYER, "units", "#{j : 0 < γ_j < ε}, ε = 0.1"),
    Row("margin/alive_counts", LAYER, "units", "#{j : γ_j >= ε}"),
    Row("margin/non_finite_counts", LAYER, "units", "#{j : some z_j(x) is NaN or infinite}"),
    Row("margin/always_on_counts", LAYER, "units", "#{j : min_x z_j(x) > 0}: linear on the inputs"),
    Row("margin/selective_counts", LAYER, "units", "#{neither dead nor always on}"),
    Row("margin/never_on_counts", LAYER, "units", "#{j : γ_j <= 0} of activations that cannot die (leaky ReLU)"),
    Row("margin/out_of_bounds_counts", LAYER, "units", "#{j : ∣w_j·x̄ + b_j∣/‖w_j‖ > max_x ‖x − x̄‖}; with the ranks"),
    Row("margin/mean_margins", LAYER, "pre-activation", "(1/H) Σ_j γ_j over finite units"),
    Row("margin/mean_scale_free_margins", LAYER, "input", "mean of γ_j/‖w_j‖ over units with weights"),
    Row("margin/dead_points", LAYER, "inputs", "#{x : z_j(x) <= 0 for every j}"),
    Row("margin/dead_point_fractions", LAYER, "fraction", "dead points / N"),
    Row("margin/deaths", LAYER, "units", "γ_j fell to <= 0 since the last computation"),
    Row("margin/revivals", LAYER, "units", "γ_j rose above 0 since the last computation"),
    Row("margin/num_samples", NETWORK, "inputs", "N, which every margin grows with"),
    Row("dormant_counts_0.025", LAYER, "units", "#{j : E∣h_j∣ <= 0.025 mean_k E∣h_k∣}", SOKAR),
    Row("dormant_counts_0.1", LAYER, "units", "#{j : E∣h_j∣ <= 0.1 mean_k E∣h_k∣}", SOKAR),
    Row("activity", LAYER, "fraction", "mean over units of the fraction of inputs with h_j > 0"),
    Row(
        "pol_features_activity", LAYER, "percent", "units that fired on <= 1 % of the last 1000 acting steps", REFERENCE
    ),
    Row("stable_rank", LAYER, "rank", "‖A‖_F²/‖A‖₂², A = activations [N, H], not centred", "Rudelson & Vershynin 2007"),
    Row("effective_rank", LAYER, "rank", "exp(−Σ p ln p), p = σ/Σσ", "Roy & Vetterli 2007"),
    Row("covariance_effective_rank", LAYER, "rank", "exp(−Σ p ln p), p = σ²/Σσ²"),
    Row("srank", LAYER, "rank", 'least k: Σ_{i<=k} σ_i >= 0.99 Σσ (the reference\'s "stable_rank")', KUMAR),
    Row("approximate_rank", LAYER, "rank", "least k: Σ_{i<=k} σ_i² >= 0.99 Σσ²", "Yang et al. 2019, 1909.12255"),
    Row("feature_rank", LAYER, "rank", "#{i : σ_i(A/√N) > 0.01}", "Lyle et al. 2022, 2204.09560"),
    Row("pol_weights", LAYER, "weight", "mean ∣w∣, output layer included", REFERENCE),
    Row("val_weights", LAYER, "weight", "the same of the critic", REFERENCE),
    Row("weight_change", NETWORK, "weight", "Σ∣w − w_before∣ since the last computation", REFERENCE),
    Row("frozen_parameters", NETWORK, "parameters", "union of w_j, b_j and outgoing weights of dead units"),
    Row("frozen_parameter_fraction", NETWORK, "fraction", "frozen parameters / P"),
    Row("grama_counts_0.025", LAYER, "units", "#{j : E∣∂L/∂h_j∣ <= 0.025 mean_k E∣∂L/∂h_k∣}; with loss=", GRAMA),
    Row("grama_counts_0.1", LAYER, "units", "#{j : E∣∂L/∂h_j∣ <= 0.1 mean_k E∣∂L/∂h_k∣}; with loss=", GRAMA),
    Row("gradient_norms", LAYER, "gradient", "mean over units of ‖∂L/∂w_j‖; with loss="),
    Row("kfac_input_rank", LAYER, "rank", "effective rank of E[x xᵀ], x the layer's inputs; with loss=", KFAC),
    Row("kfac_gradient_rank", LAYER, "rank", "effective rank of E[g gᵀ], g = ∂L/∂z; with loss=", KFAC),
    Row(
        "ggn_epsilon_rank",
        NETWORK,
        "fraction",
        "#{∣λ∣ > ε}/P of the GGN E[Jᵀ ∇²ℓ J], ε = 0.1, P the trainable parameters; of frozen parameters λ = 0; with loss=",
        HE,
    ),
    Row("ggn_epsilon_rank_error", NETWORK, "fraction", "standard error of the same; 0: all eigenvalues were counted"),
    Row("hessian_epsilon_rank", NETWORK, "fraction", "#{∣λ∣ > ε}/P of the Hessian of the loss; with loss=", HE),
    Row(
        "hessian_epsilon_rank_error", NETWORK, "fraction", "standard error of the same; 0: all eigenvalues were counted"
    ),
    Row("input_curvature", NETWORK, "loss²/input⁴", "E_x Tr(H_x²), H_x = ∂²ℓ/∂x² of one input; with loss=", GARG),
    Row(
        "margin/will_die_counts",
        LAYER,
        "units",
        "#{j : γ_j > 0 when last computed, <= 0 with those weights on the present inputs}",
    ),
    Row("task/deaths", NETWORK, "units", "deaths between computations within the task; task(...).summary()"),
    Row("task/revivals", NETWORK, "units", "revivals between computations within the task"),
    Row("task/start_dead_counts", LAYER, "units", "dead with the weights at its beginning on its first observations"),
    Row("task/start_mean_margins", LAYER, "pre-activation", "mean margin of the same"),
    Row("task/end_dead_counts", LAYER, "units", "dead with the weights at its end on its last observations"),
    Row("task/end_mean_margins", LAYER, "pre-activation", "mean margin of the same"),
    Row("task/killed_by_change_counts", LAYER, "units", "alive on the task before, dead on this one, same weights"),
    Row("margin", UNIT, "pre-activation", "γ_j = max_x z_j(x) (of the drive for other activations than ReLU)"),
    Row("lowest", UNIT, "pre-activation", "min_x z_j(x)"),
    Row("activity", UNIT, "fraction", "fraction of the inputs with h_j > 0"),
    Row("mean_abs_activation", UNIT, "activation", "E∣h_j∣"),
    Row("bias", UNIT, "weight", "b_j"),
    Row("weight_norm", UNIT, "weight", "‖w_j‖"),
    Row("scale_free_margin", UNIT, "input", "γ_j/‖w_j‖; for ‖w_j‖ = 0: ±infinity by the sign of b_j, or 0"),
    Row(
        "predictive_margin", UNIT, "pre-activation", "γ_j of the weights of the last computation on the present inputs"
    ),
    Row("mean_abs_gradient", UNIT, "gradient", "E∣∂L/∂h_j∣; with loss="),
    Row("gradient_norm", UNIT, "gradient", "‖∂L/∂w_j‖; with loss="),
)


def row_of(key: str) -> Row:
    """The row of a logged key such as `critic/margin/dead_counts/layer_0`. Errors: KeyError for a key without a row."""
    name = re.sub(r"/layer_\d+$", "", key)
    for candidate in (name, name.partition("/")[2]):
        for row in GLOSSARY:
            if row.scope != UNIT and row.key == candidate:
                return row
    raise KeyError(f"no glossary row for {key!r}")


def markdown() -> str:
    """The glossary as a Markdown table."""
    head = "| key | per | unit | formula | source |\n|---|---|---|---|---|\n"
    return head + "".join(f"| `{r.key}` | {r.scope} | {r.unit} | {r.formula} | {r.source} |\n" for r in GLOSSARY)


if __name__ == "__main__":
    print(markdown(), end="")
