// What is chosen, the controls that choose it, and what they redraw.

const state = {
  task: data.tasks.length ? data.tasks[0].model : "",
  rate: null,
  smoothing: 0,
  lossScale: "linear",
  validation: "accuracy",
  convergence: "steps_to_threshold",
  metric: "validation_accuracy",
  hidden: new Set(),
};

const taskGroups = () => data.groups.filter((group) => group.model === state.task);
const ratesOf = (groups) => [...new Set(groups.map((group) => group.rate))].sort((a, b) => a - b);
const chosenGroups = () => schedules.flatMap((schedule) =>
  taskGroups().filter((group) => group.schedule === schedule && group.rate === state.rate));
const visible = (schedule) => !state.hidden.has(schedule);

// Radios that look like segments. A single choice is no choice: it is hidden.
function segments(id, choices, current, choose, keepSingle = false) {
  const box = byId(id);
  box.hidden = choices.length < 2 && !keepSingle;
  box.replaceChildren(box.querySelector("legend"), ...choices.map(([value, label]) => {
    const input = element("input", { type: "radio", name: id });
    input.checked = value === current;
    input.addEventListener("change", () => choose(value));
    return element("label", {}, input, element("span", {}, label));
  }));
}

function options(id, choices, current, choose) {
  const select = byId(id);
  select.replaceChildren(...choices.map((name) => {
    const option = element("option", { value: name }, metrics[name].label);
    option.selected = name === current;
    return option;
  }));
  select.onchange = () => choose(select.value);
}

function fillCards() {
  const groups = chosenGroups();
  const best = groups.length > 1 ? bestValue(groups, "validation_accuracy") : null;
  byId("cards").replaceChildren(...groups.map((group) => {
    const accuracy = group.metrics.validation_accuracy;
    const shown = visible(group.schedule);
    const card = element("button", { type: "button", class: "card", "aria-pressed": String(shown) },
      element("span", { class: "name" }, swatch(group.schedule), group.schedule.replaceAll(":", ":\u200b"), element("span", { class: "state" }, shown ? "shown" : "hidden")),
      element("span", { class: `figure${accuracy.mean !== null && accuracy.mean === best ? " best" : ""}` }, figure(accuracy.mean, percent),
        isNumber(accuracy.sd) ? element("small", {}, ` ± ${figure(accuracy.sd, percent, false)}`) : null),
      element("span", { class: "label" }, accuracy.mean !== null && accuracy.mean === best ? "validation accuracy, the best here" : "validation accuracy"),
      element("span", { class: "rest" },
        ...["test_accuracy", "validation_loss", "steps_to_threshold"].flatMap((name) => {
          const { label, kind } = metrics[name];
          return [element("span", {}, label), element("span", {}, ...spread(group.metrics[name], kind, group.runs, true))];
        })));
    card.addEventListener("click", () => {
      if (shown) state.hidden.add(group.schedule); else state.hidden.delete(group.schedule);
      update();
      byId("cards").children[groups.indexOf(group)].focus();
    });
    return card;
  }));
}

function drawCharts() {
  const several = ratesOf(taskGroups()).length > 1;
  byId("robustness-hint").textContent = several ? "Bands are one standard deviation over seeds."
    : "All runs of this task started from the same rate; give --lrs several to see how much it matters.";
  const task = data.tasks.find((one) => one.model === state.task);
  byId("convergence-hint").textContent = state.convergence.endsWith("threshold")
    ? `Goal: ${goalText(task.threshold)}, looked at after each epoch.`
    : "Until the trailing mean of the training loss is at the final training loss of the best baseline at this rate.";
  if (typeof Chart === "undefined") return;
  const groups = chosenGroups().filter((group) => visible(group.schedule));
  drawTraining(groups, state);
  drawValidation(groups, state);
  drawRates(groups);
  drawChanges(groups, state);
  drawConvergence(groups, state);
  drawRobustness(state.task, visible);
}

function update() {
  const groups = taskGroups();
  const rates = ratesOf(groups);
  // Of several rates the middle one is the most telling to begin with.
  if (!rates.includes(state.rate)) state.rate = rates.length ? rates[Math.floor(rates.length / 2)] : null;
  const set = (key) => (value) => { state[key] = value; update(); };
  segments("task-choice", data.tasks.map((task) => [task.model, task.model]), state.task, set("task"), true);
  segments("rate-choice", rates.map((rate) => [rate, rateText(rate)]), state.rate, set("rate"), true);
  segments("smoothing-choice", [[0, "none"], [2, "light"], [7, "strong"]], state.smoothing, set("smoothing"));
  segments("loss-scale", [["linear", "linear"], ["log", "log"]], state.lossScale, set("lossScale"));
  segments("validation-figure", [["accuracy", "accuracy"], ["loss", "loss"]], state.validation, set("validation"));
  options("convergence-measure", ["steps_to_threshold", "seconds_to_threshold", "steps_to_baseline_loss", "seconds_to_baseline_loss"],
    state.convergence, set("convergence"));
  options("statistics-metric", Object.keys(metrics).filter((name) => metrics[name].better !== 0), state.metric, set("metric"));
  fillCards();
  fillResults(groups);
  fillStatistics(data.comparisons.filter((one) => one.model === state.task), state.metric);
  fillRuns(data.runs.filter((run) => run.model === state.task));
  fillFacts(data.tasks.find((task) => task.model === state.task));
  drawCharts();
}

// Redrawing replaces the control that was used: the focus goes to its successor.
document.addEventListener("change", (event) => {
  const { name, id } = event.target;
  const successor = name ? document.querySelector(`input[name="${name}"]:checked`) : byId(id);
  if (successor) successor.focus();
});

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme-name").textContent = theme === "dark" ? "Light" : "Dark";
}

function startTheme() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = false;
  setTheme(system.matches ? "dark" : "light");
  system.addEventListener("change", () => {
    if (chosen) return;
    setTheme(system.matches ? "dark" : "light");
    drawCharts();
  });
  byId("theme").addEventListener("click", () => {
    chosen = true;
    setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    drawCharts();
  });
}

function fillIntroduction() {
  const planned = data.tasks.reduce((sum, task) => sum + task.planned, 0);
  const done = data.runs.length;
  byId("lede").textContent = `${plural(schedules.length, "schedule", "schedules")} on ${data.tasks.map((task) => task.model).join(", ")}; ` +
    `${done === planned ? plural(done, "run", "runs") : `${done} of ${planned} runs`}, ${data.date.replaceAll("-", "‑")}.`;
  const notices = [];
  if (data.failures.length) {
    notices.push(element("div", { class: "notice", role: "status" }, element("strong", {}, `${plural(data.failures.length, "run", "runs")} failed`),
      element("ul", {}, ...data.failures.map((one) => element("li", {}, `${one.run}: ${one.error}`)))));
  }
  const missing = planned - done - data.failures.length;
  if (missing > 0) {
    notices.push(element("p", { class: "notice", role: "status" }, `${plural(missing, "run is", "runs are")} still to do: the same command goes on from here.`));
  }
  if (typeof Chart === "undefined") {
    document.querySelectorAll(".plot").forEach((plot) => plot.replaceChildren(element("p", { class: "absent" }, "No chart: Chart.js is missing.")));
    notices.push(element("p", { class: "notice", role: "status" }, "Charts need Chart.js, which was not there when compare_schedules was built " +
      "(Debian’s package is libjs-chart.js). The tables hold the same figures."));
  }
  byId("notices").replaceChildren(...notices);
}

startTheme();
fillIntroduction();
if (data.groups.length) update();
