// Data, how figures are written, and the tables.

const data = JSON.parse(document.getElementById("data").textContent);

const byId = (id) => document.getElementById(id);

// element("td", {class: "text"}, "a", element("b", {}, "c")): text is never parsed as HTML.
function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children.filter((child) => child !== null));
  return node;
}

function svgElement(name, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const grouped = (value, digits) =>
  value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const signed = (text, value) => (value > 0 ? "+" : "") + text.replace("-", "−");

const percent = { scale: 100, unit: "%", digits: 2 };
const loss = { scale: 1, unit: "", digits: 4 };
const steps = { scale: 1, unit: "steps", digits: 0 };
const seconds = { scale: 1, unit: "s", digits: 1 };
const count = { scale: 1, unit: "", digits: 0 };

// Every metric: what it is called, its kind, and which direction is better.
const metrics = {
  validation_accuracy: { label: "Validation accuracy", kind: percent, better: 1 },
  best_validation_accuracy: { label: "Best validation accuracy", kind: percent, better: 1 },
  test_accuracy: { label: "Test accuracy", kind: percent, better: 1 },
  validation_loss: { label: "Validation loss", kind: loss, better: -1 },
  best_validation_loss: { label: "Best validation loss", kind: loss, better: -1 },
  test_loss: { label: "Test loss", kind: loss, better: -1 },
  train_loss: { label: "Training loss", kind: loss, better: -1 },
  loss_area: { label: "Area under the loss", kind: loss, better: -1 },
  steps_to_threshold: { label: "Steps to the goal", kind: steps, better: -1 },
  seconds_to_threshold: { label: "Seconds to the goal", kind: seconds, better: -1 },
  steps_to_baseline_loss: { label: "Steps to the best baseline’s loss", kind: steps, better: -1 },
  seconds_to_baseline_loss: { label: "Seconds to the best baseline’s loss", kind: seconds, better: -1 },
  train_seconds: { label: "Training time", kind: seconds, better: -1 },
  rollbacks: { label: "Rollbacks", kind: count, better: 0 },
  skipped_steps: { label: "Skipped steps", kind: count, better: 0 },
};

// A figure with its unit; short times get another digit.
function figure(value, kind, withUnit = true) {
  if (!isNumber(value)) return "–";
  const scaled = value * kind.scale;
  const digits = kind === seconds && Math.abs(scaled) < 10 ? 2 : kind.digits;
  const unit = withUnit && kind.unit ? (kind.unit === "%" ? " %" : " " + kind.unit) : "";
  return grouped(scaled, digits) + unit;
}

const rateText = (rate) => (rate >= 0.001 && rate < 1000 ? String(rate) : rate.toExponential().replace("e-", "e−"));
const goalText = (goal) => {
  const [what, value] = goal.split("=");
  return what === "loss" ? `validation loss at most ${value}` : `validation accuracy at least ${figure(Number(value), percent)}`;
};
const plural = (n, one, many) => `${grouped(n, 0)} ${n === 1 ? one : many}`;

// Schedules in one fixed order, the adaptive one first, so that colours mean the same everywhere.
const schedules = [...new Set(data.groups.map((group) => group.schedule))];
schedules.sort((a, b) => (b === "adaptive") - (a === "adaptive"));
const kDashes = [[], [7, 4], [2, 3], [10, 3, 2, 3], [5, 2], [1, 2], [12, 4], [4, 4, 1, 4]];
const kPoints = ["circle", "rect", "triangle", "rectRot", "cross", "star", "crossRot", "rectRounded"];
const styleOf = (schedule) => schedules.indexOf(schedule) % 8;
const colourOf = (schedule) =>
  getComputedStyle(document.documentElement).getPropertyValue(`--s${styleOf(schedule)}`).trim();

// The line of a schedule, as it is drawn in the charts: colour is not the only difference.
function swatch(schedule) {
  const line = svgElement("line", {
    x1: 1, y1: 6, x2: 27, y2: 6, "stroke-width": 3, "stroke-dasharray": kDashes[styleOf(schedule)].join(" "),
  });
  line.style.stroke = `var(--s${styleOf(schedule)})`;
  return svgElement("svg", { class: "swatch", viewBox: "0 0 28 12", "aria-hidden": "true" }, line);
}

// mean ± sd, and how many runs have the figure where not all have.
function spread(metric, kind, runs, withUnit = false) {
  if (!metric || metric.count === 0) return [kind === steps || kind === seconds ? "never" : "–"];
  const parts = [figure(metric.mean, kind, false)];
  if (isNumber(metric.sd)) parts.push(element("span", { class: "sd" }, ` ± ${figure(metric.sd, kind, false)}`));
  if (withUnit && kind.unit === "%") parts.push(" %");
  if (metric.count < runs) parts.push(element("span", { class: "sd" }, ` (${metric.count} of ${runs})`));
  return parts;
}

// Among groups of which every run has the figure.
function bestValue(groups, name) {
  const values = groups.filter((group) => group.metrics[name].count === group.runs).map((group) => group.metrics[name].mean);
  return metrics[name].better > 0 ? Math.max(...values) : Math.min(...values);
}

function heading(label, unit, cls) {
  return element("th", cls ? { scope: "col", class: cls } : { scope: "col" }, label, unit ? element("small", {}, unit) : null);
}

// A line a schedule and initial rate; the best of each column stands out.
function fillResults(groups) {
  const names = ["validation_accuracy", "test_accuracy", "validation_loss", "train_loss",
    "steps_to_threshold", "seconds_to_threshold", "steps_to_baseline_loss", "train_seconds"];
  const head = element("tr", {}, heading("Schedule"), heading("Initial rate"), heading("Runs"),
    ...names.map((name) => heading(metrics[name].label, metrics[name].kind.unit)));
  const rows = groups.map((group) => element("tr", {},
    element("th", { scope: "row" }, swatch(group.schedule), group.schedule),
    element("td", {}, rateText(group.rate)), element("td", {}, String(group.runs)),
    ...names.map((name) => {
      const metric = group.metrics[name];
      const best = groups.length > 1 && metric.count === group.runs && metric.mean === bestValue(groups, name);
      return element("td", best ? { class: "best" } : {}, ...spread(metric, metrics[name].kind, group.runs));
    })));
  byId("results-table").replaceChildren(element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
}

// The interval of a difference as a bar around zero; all bars of a table share their scale.
function intervalBar(metric, limit) {
  const place = (value) => 88 + (80 * value) / limit;
  const parts = [svgElement("line", { x1: 88, x2: 88, y1: 1, y2: 19, stroke: "currentColor", opacity: .35 })];
  if (isNumber(metric.low)) {
    parts.push(svgElement("line", { x1: place(metric.low), x2: place(metric.high), y1: 10, y2: 10, stroke: "currentColor", "stroke-width": 2 }));
  }
  parts.push(svgElement("circle", { cx: place(metric.difference), cy: 10, r: 3.5, fill: "currentColor" }));
  return svgElement("svg", { class: "interval", viewBox: "0 0 176 20", "aria-hidden": "true" }, ...parts);
}

function fillStatistics(all, name) {
  // Baselines among themselves are of interest only where there is nothing else.
  const challengers = all.filter((one) => !data.baselines.includes(one.schedule));
  const comparisons = challengers.length ? challengers : all;
  const { kind, better } = metrics[name];
  const bounds = comparisons.flatMap((one) => {
    const metric = one.metrics[name];
    return [metric.difference, metric.low, metric.high].filter(isNumber).map(Math.abs);
  });
  const limit = Math.max(...bounds, 1e-12);
  const unit = kind.unit === "%" ? "percentage points" : kind.unit;
  const difference = (value) => (isNumber(value) ? signed(figure(value, kind, false), value) : "–");
  const rows = comparisons.map((one) => {
    const metric = one.metrics[name];
    const clear = isNumber(metric.low) && (metric.low > 0 || metric.high < 0);
    const cls = clear ? (Math.sign(metric.difference) === better ? "good" : "bad") : "";
    return element("tr", {},
      element("th", { scope: "row" }, swatch(one.schedule), one.schedule),
      element("td", {}, rateText(one.rate)),
      element("td", { class: "text" }, `${one.baseline}, ${rateText(one.baseline_rate)}${one.tuned ? " (its best)" : ""}`),
      element("td", { class: cls }, difference(metric.difference), clear ? (cls === "good" ? " better" : " worse") : ""),
      element("td", {}, isNumber(metric.low) ? `${difference(metric.low)} … ${difference(metric.high)}` : "–"),
      element("td", { class: "text" }, isNumber(metric.difference) ? intervalBar(metric, limit) : "–"),
      element("td", {}, metric.record.join(" / ")), element("td", {}, String(metric.count)));
  });
  if (rows.length === 0) {
    byId("statistics-table").replaceChildren(element("p", { class: "hint", style: "padding: 0 1rem 1rem" },
      "There is no pair of a schedule and a baseline to compare."));
    return;
  }
  const head = element("tr", {}, heading("Schedule"), heading("Initial rate"), heading("Baseline", "schedule, initial rate", "text"),
    heading("Difference", unit), heading("95 % interval", unit), heading("", "", "text"),
    heading("Win / tie / loss", "seeds"), heading("Pairs"));
  byId("statistics-table").replaceChildren(element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
}

// Every run, sortable by each column.
function fillRuns(runs) {
  const shown = ["validation_accuracy", "best_validation_accuracy", "test_accuracy", "validation_loss", "test_loss", "train_loss",
    "loss_area", "steps_to_threshold", "seconds_to_threshold", "steps_to_baseline_loss", "train_seconds", "rollbacks", "skipped_steps"];
  const keys = ["schedule", "rate", "seed", ...shown];
  const labels = { schedule: "Schedule", rate: "Initial rate", seed: "Seed" };
  const body = element("tbody");
  const heads = keys.map((key) => {
    const button = element("button", { type: "button" }, labels[key] || metrics[key].label);
    const head = element("th", { scope: "col" }, button, metrics[key] && metrics[key].kind.unit ? element("small", {}, metrics[key].kind.unit) : null);
    button.addEventListener("click", () => {
      const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      fill([...runs].sort((a, b) => compareValues(a[key], b[key], direction)));
    });
    return head;
  });
  const fill = (list) => body.replaceChildren(...list.map((run) => element("tr", {},
    element("th", { scope: "row" }, swatch(run.schedule), run.schedule),
    element("td", {}, rateText(run.rate)), element("td", {}, String(run.seed)),
    ...shown.map((key) => element("td", {}, figure(run[key], metrics[key].kind, false))))));
  fill(runs);
  byId("runs-table").replaceChildren(element("table", {}, element("thead", {}, element("tr", {}, ...heads)), body));
}

// Missing figures come last in either direction.
function compareValues(a, b, direction) {
  const [hasA, hasB] = [a !== null, b !== null];
  if (!hasA || !hasB) return hasB - hasA;
  return direction * (typeof a === "string" ? a.localeCompare(b) : a - b);
}

function facts(pairs) {
  return pairs.filter(([, value]) => value !== "").flatMap(([term, value]) => [element("dt", {}, term), element("dd", {}, String(value))]);
}

function fillFacts(task) {
  byId("configuration").replaceChildren(...facts([
    ["Model", task.parameters ? `${task.model}, ${grouped(task.parameters, 0)} parameters` : task.model],
    ["Data", task.data], ["Epochs", task.epochs], ["Goal", goalText(task.threshold)],
    ["Baselines", data.baselines.join(", ")], ["Flags", task.flags],
    ["Seeds", [...new Set(data.runs.filter((run) => run.model === task.model).map((run) => run.seed))].join(", ")]]));
  byId("machine").replaceChildren(...facts([
    ["Processor", data.machine.processor], ["Cores", data.machine.cores],
    ["Runs at once", `${data.jobs}, ${plural(data.threads, "thread", "threads")} each`],
    ["System", data.machine.system], ["Compiler", data.machine.compiler], ["Written", data.date]]));
}
