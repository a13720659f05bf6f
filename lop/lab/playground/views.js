// The five views: what each shows of a scene, where its handles are, and what dragging one to (x, y) makes of it.
const Views = (() => {
  "use strict";
  const SQUARE = { x: [-3, 3], y: [-3, 3] };
  const NEAR = 0.02; // a kink, or w, this close to zero has no direction that a hand could mean
  const SMALL = 0.05;

  const moved = (scene, part, change) => ({ ...scene, [part]: { ...scene[part], ...change } });

  // What is dragged stays within what may be typed
  const held = (name, value) => Math.min(Math.max(value, Scene.LIMITS[name][0]), Scene.LIMITS[name][1]);

  const rectangle = (range, seen) => {
    if (!range) return null;
    const from = Math.max(range[0], seen.x[0]), to = Math.min(range[1], seen.x[1]);
    return from < to ? [[from, seen.y[0]], [to, seen.y[0]], [to, seen.y[1]], [from, seen.y[1]]] : null;
  };

  // A new kink, slope or side for the student; |w| stays
  function reshape(scene, change) {
    const { student } = scene;
    if (student.w === 0) return scene;
    const { w, b, a, c } = Core.fromShape({ ...Core.shape(student), ...change }, Math.abs(student.w), student.c);
    return { ...scene, student: { w, b: held("b", b), a: held("a", a), c } };
  }

  // ---- input and output ----

  // On the firing side, one unit from the kink, or as near to that as the window allows
  function slopeHandle({ k, m, s, c }, seen) {
    const [from, to] = [seen.x[0] * 0.92 + seen.x[1] * 0.08, seen.x[0] * 0.08 + seen.x[1] * 0.92];
    const x = Math.min(Math.max(k + s, from), to);
    return s * (x - k) > SMALL ? { x, y: c + m * s * (x - k) } : null;
  }

  function pulledSlope({ k, c, s }, x, y) {
    const side = Math.abs(x - k) > SMALL ? Math.sign(x - k) : s;
    return { s: side, m: held("m", (y - c) / Math.max(side * (x - k), SMALL)) };
  }

  const inputOutput = {
    name: "io", xName: "x", yName: "y", home: { x: [-2.6, 2.6], y: [-1.6, 2.6] },
    handles({ teacher, student, data }, seen) {
      const shape = { ...Core.shape(student), c: student.c };
      const all = [
        shape.s && { id: "student-kink", who: "student", x: shape.k, y: student.c, label: "student's kink" },
        { id: "teacher-kink", who: "teacher", x: teacher.k, y: teacher.c, label: "teacher's kink" },
      ];
      for (const [who, line] of [["student", shape], ["teacher", teacher]]) {
        const place = line.s && slopeHandle(line, seen);
        all.push(place && { id: `${who}-slope`, who, hollow: true, ...place, label: `${who}'s slope` });
      }
      for (const [edge, name] of [["low", "left"], ["high", "right"]]) {
        const y = (seen.y[0] + seen.y[1]) / 2;
        const label = `${name} edge of the data`;
        all.push({ id: `data-${edge}`, who: "data", x: data[edge], y, label, wholeHeight: true });
      }
      return all.filter(Boolean);
    },
    drag(scene, id, x, y) {
      const { teacher, student, data } = scene;
      if (id === "teacher-kink") return moved(scene, "teacher", { k: held("k", x), c: held("c", y) });
      if (id === "teacher-slope") return moved(scene, "teacher", pulledSlope(teacher, x, y));
      if (id === "student-kink") return moved(reshape(scene, { k: held("k", x) }), "student", { c: held("c", y) });
      if (id === "student-slope") return reshape(scene, pulledSlope({ ...Core.shape(student), c: student.c }, x, y));
      if (id === "data-low") return moved(scene, "data", { low: held("low", Math.min(x, data.high - 0.1)) });
      return moved(scene, "data", { high: held("high", Math.max(x, data.low + 0.1)) });
    },
  };

  // ---- the phase planes ----

  const phase = (side) => ({
    name: side > 0 ? "right" : "left", xName: "k", yName: "m", home: SQUARE,
    project(student) {
      const { k, m, s } = Core.shape(student);
      return s === side ? [k, m] : null;
    },
    teacherPoint: ({ teacher }) => (teacher.s === side ? [teacher.k, teacher.m] : null),
    teacherLine: () => null,
    // the loss depends on (w, b, a) through the function alone: take |w| = 1, a = m
    column: ({ student }, sums, k, ...rest) => Core.lossOverOutput(sums, side, -side * k, student.c, ...rest),
    depends: ({ student }) => [student.c, Core.balance(student)],
    // where gradient flow takes the neurons that have the student's w^2 + b^2 - a^2, which it conserves
    flow({ student }, sums, k, m) {
      const width = Core.sizeOnSurface(k, m, Core.balance(student));
      if (!(width > 1e-6)) return [0, 0];
      const at = Core.fromShape({ k, m, s: side }, width, student.c);
      const g = Core.quickGradient(sums, at);
      return [(g.b + k * g.w) / at.w, -g.a * width - at.a * side * g.w];
    },
    regions: ({ data }, seen) => ({
      dead: rectangle(side > 0 ? [data.high, Infinity] : [-Infinity, data.low], seen),
      on: rectangle(side > 0 ? [-Infinity, data.low] : [data.high, Infinity], seen),
    }),
    drag(scene, id, x, y) {
      const shape = { k: held("k", x), m: held("m", y) };
      return id === "teacher" ? moved(scene, "teacher", shape) : reshape(scene, shape);
    },
  });

  // ---- slices of the weights ----

  const outputWeight = {
    name: "wa", xName: "w", yName: "a", home: SQUARE,
    project: ({ w, a }) => [w, a],
    // students with the teacher's slope: a |w| = m. The handle sits where |a| = |w|
    teacherPoint: ({ teacher: { m, s } }) => [s * Math.sqrt(Math.abs(m)), Math.sign(m) * Math.sqrt(Math.abs(m))],
    teacherLine({ teacher: { m, s } }, seen) {
      // from where it enters the window: dashes along a line that nobody sees would cost most of a frame
      const near = Math.abs(m) / Math.max(-seen.y[0], seen.y[1], NEAR);
      const far = s > 0 ? seen.x[1] : -seen.x[0];
      if (far <= near) return null;
      const growth = near > 0 ? far / near : 1e6;
      return Array.from({ length: 61 }, (_, i) => far * growth ** (i / 60 - 1)).map((w) => [s * w, m / w]);
    },
    column: ({ student }, sums, w, ...rest) => Core.lossOverOutput(sums, w, student.b, student.c, ...rest),
    depends: ({ student }) => [student.b, student.c],
    flow({ student }, sums, w, a) {
      const g = Core.quickGradient(sums, { ...student, w, a });
      return [-g.w, -g.a];
    },
    regions: ({ data, student }, seen) => ({
      dead: rectangle(Core.deadWeights(data, student.b), seen),
      on: rectangle(Core.alwaysOnWeights(data, student.b), seen),
    }),
    drag(scene, id, w, a) {
      if (id === "student") return moved(scene, "student", { w: held("w", w), a: held("a", a) });
      if (Math.abs(w) < NEAR) return scene;
      return moved(scene, "teacher", { m: held("m", a * Math.abs(w)), s: Math.sign(w) });
    },
  };

  const inputWeight = {
    name: "wb", xName: "w", yName: "b", home: SQUARE,
    project: ({ w, b }) => [w, b],
    // students with the teacher's kink: b = -k w, on the teacher's side
    teacherPoint({ teacher: { k, m, s } }, seen) {
      const highest = 0.9 * Math.max(-seen.y[0], seen.y[1], 0.1);
      const width = Math.min(Math.sqrt(Math.abs(m)) || 1, highest / Math.max(Math.abs(k), 1e-9));
      return [s * width, -s * width * k];
    },
    teacherLine({ teacher: { k, s } }, seen) {
      const highest = Math.max(-seen.y[0], seen.y[1]);
      const far = Math.min(s > 0 ? seen.x[1] : -seen.x[0], highest / Math.max(Math.abs(k), 1e-9));
      return far > 0 ? [[0, 0], [s * far, -s * far * k]] : null;
    },
    column: ({ student }, sums, w, ...rest) => Core.lossOverBias(sums, w, student.a, student.c, ...rest),
    depends: ({ student }) => [student.a, student.c],
    flow({ student }, sums, w, b) {
      const g = Core.quickGradient(sums, { ...student, w, b });
      return [-g.w, -g.b];
    },
    regions({ data: { low, high } }, seen) {
      const bends = [seen.x[0], ...(seen.x[0] < 0 && seen.x[1] > 0 ? [0] : []), seen.x[1]];
      const between = (bound, edge) => [...bends.map((w) => [w, bound(w)]), [seen.x[1], edge], [seen.x[0], edge]];
      return {
        dead: between((w) => -Math.max(w * low, w * high), Math.min(seen.y[0], -1e4)),
        on: between((w) => -Math.min(w * low, w * high), Math.max(seen.y[1], 1e4)),
      };
    },
    drag(scene, id, w, b) {
      if (id === "student") return moved(scene, "student", { w: held("w", w), b: held("b", b) });
      if (Math.abs(w) < NEAR) return scene;
      return moved(scene, "teacher", { k: held("k", -b / w), s: Math.sign(w) });
    },
  };

  const slices = [phase(-1), phase(1), inputWeight, outputWeight];
  for (const slice of slices) {
    slice.handles = (scene, seen) => {
      const places = [["student", slice.project(scene.student)], ["teacher", slice.teacherPoint(scene, seen)]];
      return places.filter(([, place]) => place).map(([who, [x, y]]) => ({ id: who, who, x, y, label: who }));
    };
  }
  return { inputOutput, slices, all: [inputOutput, ...slices] };
})();
