// What is on the page, as plain values: { teacher, student, data, rate, reverse, speed }. How a number that somebody
// typed changes it, and how it is written into an address. Nothing changes in place; what is wrong throws one line.
const Scene = (() => {
  "use strict";

  const LIMITS = {
    k: [-100, 100], m: [-1000, 1000], w: [-1000, 1000], b: [-1000, 1000], a: [-1000, 1000], c: [-1000, 1000],
    ratio: [1e-6, 1e6], rate: [1e-4, 1], speed: [1, 100], low: [-100, 100], high: [-100, 100], count: [2, 2001],
  };
  const WHOLE = ["count", "speed"];
  const PARTS = { teacher: ["k", "m", "c", "s"], student: ["w", "b", "a", "c"], data: ["low", "high", "count"] };
  const DATA = { low: -Math.sqrt(3), high: Math.sqrt(3), count: 201 };

  function number(name, text) {
    const plain = String(text).trim().replaceAll("−", "-");
    const value = plain === "" ? NaN : Number(plain);
    if (name === "s") {
      if (value === 1 || value === -1) return value;
      throw new Error(`s = ${plain}: 1 or -1 is allowed`);
    }
    const [from, to] = LIMITS[name];
    const whole = WHOLE.includes(name);
    if (value >= from && value <= to && (!whole || Number.isInteger(value))) return value;
    const kind = whole ? "whole number" : "number";
    throw new Error(`${name} = ${plain || "nothing"}: a ${kind} from ${from} to ${to} is allowed`);
  }

  function range(data) {
    if (data.low < data.high) return data;
    throw new Error(`data from ${data.low} to ${data.high}: the first must be the smaller`);
  }

  // The student after one of k, m, s, ratio or w, b, a, c was set. k, m and s keep |w|; the ratio keeps the function.
  function studentWith(student, name, value) {
    if (name in student) return { ...student, [name]: value };
    const shape = Core.shape(student);
    if (shape.s === 0) throw new Error(`${name}: w = 0, a constant has no kink and no side; give w first`);
    if (name === "ratio") {
      if (shape.m === 0) throw new Error("ratio: a = 0; give a or m first");
      return Core.withRatio(student, value);
    }
    return Core.fromShape({ ...shape, [name]: value }, Math.abs(student.w), student.c);
  }

  // name: teacher.k, student.ratio, data.low, rate, ...
  function withValue(scene, name, text) {
    const [part, key] = name.split(".");
    if (!key) return { ...scene, [part]: number(part, text) };
    const value = number(key, text);
    if (part === "student") {
      const student = studentWith(scene.student, key, value);
      for (const weight of PARTS.student) number(weight, student[weight]);
      return { ...scene, student };
    }
    const next = { ...scene[part], [key]: value };
    return { ...scene, [part]: part === "data" ? range(next) : next };
  }

  const fromPreset = (preset) => ({
    teacher: { ...preset.teacher }, student: { ...preset.student }, data: { ...DATA },
    rate: preset.rate, speed: preset.speed ?? 1, reverse: false,
  });

  // Numbers keep all their digits, so that an address brings back the very same state.
  function toHash(scene) {
    const values = (part, keys) => keys.map((key) => scene[part][key]).join(",");
    const parts = Object.entries(PARTS).map(([part, keys]) => `${part}=${values(part, keys)}`);
    return `#${parts.join("&")}&rate=${scene.rate}&speed=${scene.speed}${scene.reverse ? "&reverse=1" : ""}`;
  }

  // What an address asks for; what it leaves out is as in `scene`
  function fromHash(hash, scene) {
    let result = { ...scene, reverse: false };
    for (const [part, text] of new URLSearchParams(hash.replace(/^#/, ""))) {
      if (part in PARTS) {
        const values = text.split(",");
        const wanted = PARTS[part];
        if (values.length !== wanted.length) throw new Error(`${part}=${text}: ${wanted.join(",")} are wanted`);
        const next = Object.fromEntries(wanted.map((key, i) => [key, number(key, values[i])]));
        result[part] = part === "data" ? range(next) : next;
      } else if (part === "rate" || part === "speed") result = withValue(result, part, text);
      else if (part === "reverse") result.reverse = text === "1";
      else throw new Error(`${part}=${text}: known are ${Object.keys(PARTS).join(", ")}, rate, speed, reverse`);
    }
    return result;
  }

  return { fromPreset, withValue, toHash, fromHash, LIMITS };
})();
