// The mathematics of the playground: pure functions, no page. Its twin is core.py; a test holds the two together.
//
// student {w, b, a, c}: y = a ReLU(w x + b) + c        teacher {k, m, c, s}: t = m ReLU(s (x - k)) + c
// data {low, high, count}: evenly spaced inputs         loss L = mean of (y - t)^2 / 2 over the inputs
const Core = (() => {
  "use strict";

  const inputs = ({ low, high, count }) =>
    Float64Array.from({ length: count }, (_, i) => low + ((high - low) * i) / (count - 1));

  const teach = (x, { k, m, c, s }) => m * Math.max(0, s * (x - k)) + c;
  const predict = (x, { w, b, a, c }) => a * Math.max(0, w * x + b) + c;
  const targets = (x, teacher) => Float64Array.from(x, (value) => teach(value, teacher));

  // Loss and its derivatives, by sums over all inputs. ReLU'(0) = 0, as in torch.
  function gradient(x, target, { w, b, a, c }) {
    let dw = 0, db = 0, da = 0, dc = 0, squares = 0;
    for (let i = 0; i < x.length; i++) {
      const z = w * x[i] + b;
      const error = (z > 0 ? a * z : 0) + c - target[i];
      squares += error * error;
      dc += error;
      if (z > 0) {
        dw += error * x[i];
        db += error;
        da += error * z;
      }
    }
    const n = x.length;
    return { loss: squares / n / 2, w: (a * dw) / n, b: (a * db) / n, a: da / n, c: dc / n };
  }

  function step(x, target, student, rate) {
    const g = gradient(x, target, student);
    return {
      w: student.w - rate * g.w,
      b: student.b - rate * g.b,
      a: student.a - rate * g.a,
      c: student.c - rate * g.c,
    };
  }

  // k = -b / w, m = a |w|, s = sign of w; k is NaN and s is 0 where w = 0, for there is no kink
  const shape = ({ w, b, a }) => ({ k: w === 0 ? NaN : -b / w, m: a * Math.abs(w), s: Math.sign(w) });

  // The student with kink k, slope m and side s whose input weight has the size |w| > 0
  const fromShape = ({ k, m, s }, size, c) => ({ w: s * size, b: -s * size * k, a: m / size, c });

  // The student of the same function with |w / a| = ratio. Only for m != 0.
  function withRatio(student, ratio) {
    const { k, m, s } = shape(student);
    return fromShape({ k, m, s }, Math.sqrt(Math.abs(m) * ratio), student.c);
  }

  // w^2 + b^2 - a^2: what gradient flow (infinitely small steps) leaves unchanged
  const balance = ({ w, b, a }) => w * w + b * b - a * a;

  // |w| of the neuron with kink k and slope m on the surface of this balance:
  // w^2 (1 + k^2) - (m / w)^2 = balance, a quadratic equation in w^2
  function sizeOnSurface(k, m, value) {
    const root = Math.hypot(value, 2 * m * Math.sqrt(1 + k * k));
    // for a negative balance the sum cancels; its conjugate does not
    const twice = value >= 0 ? value + root : (4 * m * m * (1 + k * k)) / (root - value);
    return Math.sqrt(twice / (2 * (1 + k * k)));
  }

  // Largest and smallest pre-activation over the inputs. They lie at the ends, for w x + b is a straight line.
  const margin = ({ low, high }, { w, b }) => Math.max(w * low + b, w * high + b);
  const lowest = ({ low, high }, { w, b }) => Math.min(w * low + b, w * high + b);

  const AT_RISK = 0.1;
  function state(data, student) {
    const gamma = margin(data, student);
    if (gamma <= 0) return "dead";
    if (lowest(data, student) > 0) return "always on";
    return gamma < AT_RISK ? "at risk" : "selective";
  }

  // The w for which w x + b <= 0 on all inputs (dead), or > 0 on all (always on), b fixed: [from, to], or null
  function deadWeights({ low, high }, b) {
    let from = -Infinity, to = Infinity;
    for (const x of [low, high]) {
      if (x > 0) to = Math.min(to, -b / x);
      else if (x < 0) from = Math.max(from, -b / x);
      else if (b > 0) return null;
    }
    return from <= to ? [from, to] : null;
  }
  function alwaysOnWeights({ low, high }, b) {
    const mirrored = deadWeights({ low, high }, -b);
    return mirrored && [-mirrored[1], -mirrored[0]];
  }

  // Running sums over the inputs, so that a sum over all inputs beyond a kink costs two look-ups.
  function moments(data, x, target) {
    const n = x.length;
    const running = (term) => {
      const sums = new Float64Array(n + 1);
      for (let i = 0; i < n; i++) sums[i + 1] = sums[i] + term(i) / n;
      return sums;
    };
    const all = {
      n, low: data.low, spacing: (data.high - data.low) / (n - 1),
      x: running((i) => x[i]), xx: running((i) => x[i] * x[i]),
      t: running((i) => target[i]), xt: running((i) => x[i] * target[i]), tt: 0,
    };
    for (let i = 0; i < n; i++) all.tt += (target[i] * target[i]) / n;
    return all;
  }

  // Which inputs fire: those with index from <= i < to. Rounding may put an input at the kink on either side: it adds
  // nothing to the loss.
  function firing(sums, w, b) {
    if (w === 0) return b > 0 ? [0, sums.n] : [0, 0];
    const place = (-b / w - sums.low) / sums.spacing;
    const clip = (i) => Math.min(Math.max(i, 0), sums.n);
    return w > 0 ? [clip(Math.floor(place) + 1), sums.n] : [0, clip(Math.ceil(place))];
  }

  // The loss along a line of students, written into `losses`: w, b and c fixed, a = first, first + change, ...
  function lossOverOutput(sums, w, b, c, first, change, losses) {
    const [from, to] = firing(sums, w, b);
    const one = (to - from) / sums.n, x = sums.x[to] - sums.x[from];
    const h = w * x + b * one;
    const square = w * w * (sums.xx[to] - sums.xx[from]) + 2 * w * b * x + b * b * one;
    const slope = c * h - w * (sums.xt[to] - sums.xt[from]) - b * (sums.t[to] - sums.t[from]);
    const rest = (c * c + sums.tt) / 2 - c * sums.t[sums.n];
    for (let j = 0, a = first; j < losses.length; j++, a = first + j * change) losses[j] = (square * a * 0.5 + slope) * a + rest;
  }

  // The same with w, a and c fixed, b = first, first + change, ...; most of a frame is spent here
  function lossOverBias(sums, w, a, c, first, change, losses) {
    const { n, low, spacing, x: sumX, xx: sumXX, t: sumT, xt: sumXT } = sums;
    const rest = (c * c + sums.tt) / 2 - c * sumT[n];
    for (let j = 0, b = first; j < losses.length; j++, b = first + j * change) {
      const place = (-b / w - low) / spacing;
      let from = 0, to = n;
      if (w > 0) from = place < 0 ? 0 : place >= n ? n : Math.floor(place) + 1;
      else if (w < 0) to = place <= 0 ? 0 : place > n ? n : Math.ceil(place);
      else if (b <= 0) to = 0;
      const one = (to - from) / n, x = sumX[to] - sumX[from];
      const square = w * w * (sumXX[to] - sumXX[from]) + 2 * w * b * x + b * b * one;
      const slope = c * (w * x + b * one) - w * (sumXT[to] - sumXT[from]) - b * (sumT[to] - sumT[from]);
      losses[j] = (square * a * 0.5 + slope) * a + rest;
    }
  }

  // The same derivatives as `gradient`, from running sums
  function quickGradient(sums, { w, b, a, c }) {
    const [from, to] = firing(sums, w, b);
    const one = (to - from) / sums.n, x = sums.x[to] - sums.x[from], xx = sums.xx[to] - sums.xx[from];
    const t = sums.t[to] - sums.t[from], xt = sums.xt[to] - sums.xt[from];
    const fired = a * (w * x + b * one) + c * one - t;
    const firedX = a * (w * xx + b * x) + c * x - xt;
    return { w: a * firedX, b: a * fired, a: w * firedX + b * fired, c: a * (w * x + b * one) + c - sums.t[sums.n] };
  }

  return {
    inputs, teach, predict, targets, gradient, step, shape, fromShape, withRatio, balance, sizeOnSurface,
    margin, lowest, state, deadWeights, alwaysOnWeights, moments, lossOverOutput, lossOverBias, quickGradient, AT_RISK,
  };
})();
