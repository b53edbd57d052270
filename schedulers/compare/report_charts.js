// The charts. Each is rebuilt from the state when that changes; they hold at most a few thousand points.

const charts = new Map();

function cssColour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function transparent(colour, share) {
  return colour + Math.round(255 * share).toString(16).padStart(2, "0");
}

// Mean of the neighbours within `radius` points, fewer at the ends; missing points stay missing.
function smoothed(values, radius) {
  if (radius === 0) return values;
  return values.map((value, i) => {
    if (!isNumber(value)) return value;
    const reach = Math.min(radius, i, values.length - 1 - i);
    const near = values.slice(i - reach, i + reach + 1).filter(isNumber);
    return near.reduce((sum, one) => sum + one, 0) / near.length;
  });
}

const points = (xs, ys) => xs.map((x, i) => ({ x, y: ys[i] }));

// A mean line with its band from the lowest to the highest seed.
function lineWithBand(group, xs, band, radius, scale, markers) {
  const colour = colourOf(group.schedule);
  const shape = (values) => smoothed(values, radius).map((value) => (isNumber(value) ? value * scale : null));
  const [mean, low, high] = [band.mean, band.low, band.high].map(shape);
  const edge = { borderWidth: 0, pointRadius: 0, pointHitRadius: 0, band: true, schedule: group.schedule };
  const sets = [{
    label: group.schedule, schedule: group.schedule, data: points(xs, mean), low, high,
    borderColor: colour, backgroundColor: colour, borderWidth: 2.25, borderDash: kDashes[styleOf(group.schedule)],
    pointRadius: markers ? 3.5 : 0, pointHoverRadius: 4.5, pointStyle: kPoints[styleOf(group.schedule)],
  }];
  if (group.runs > 1) {
    sets.push({ ...edge, data: points(xs, high), fill: "+1", backgroundColor: transparent(colour, .14) },
      { ...edge, data: points(xs, low), fill: false });
  }
  return sets;
}

function axis(title, type, extra = {}) {
  return {
    type, ...extra,
    title: { display: true, text: title, color: cssColour("--soft"), font: { size: 12 } },
    grid: { color: cssColour("--grid"), borderColor: cssColour("--line"), tickColor: cssColour("--line") },
    ticks: { color: cssColour("--soft"), maxRotation: 0, autoSkipPadding: 14, font: { size: 11 }, ...(extra.ticks || {}) },
  };
}

const superscript = (n) => String(n).replace(/./g, (c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]));

// A logarithmic axis has its ticks at powers of ten, or at 1, 2 and 5 where it holds fewer than two powers.
function logarithmic(title) {
  const parts = (value) => {
    const power = Math.floor(Math.log10(value) + 1e-9);
    return { power, digit: Math.round((value / 10 ** power) * 1e6) / 1e6 };
  };
  return axis(title, "logarithmic", {
    afterBuildTicks(scale) {
      const powers = scale.ticks.filter((tick) => parts(tick.value).digit === 1);
      scale.ticks = powers.length > 1 ? powers : scale.ticks.filter((tick) => [1, 2, 5].includes(parts(tick.value).digit));
    },
    ticks: {
      callback(value) {
        const { power, digit } = parts(value);
        return (digit === 1 ? "" : `${digit}·`) + `10${superscript(power)}`;
      },
    },
  });
}

function draw(id, label, config) {
  const canvas = byId(id);
  canvas.setAttribute("aria-label", label);
  if (charts.has(id)) charts.get(id).destroy();
  const { options } = config;
  options.plugins = {
    legend: { display: false }, ...options.plugins,
    tooltip: {
      backgroundColor: cssColour("--surface"), titleColor: cssColour("--ink"), bodyColor: cssColour("--ink"),
      borderColor: cssColour("--line"), borderWidth: 1, padding: 10, cornerRadius: 6, usePointStyle: true, boxPadding: 4,
      filter: (item) => !item.dataset.band, ...options.plugins.tooltip,
    },
  };
  charts.set(id, new Chart(canvas, { ...config, options: { responsive: true, maintainAspectRatio: false, animation: false, ...options } }));
}

// Groups over epochs, tooltips with the range over seeds.
function drawCurves(id, label, groups, { source, band, radius, scale, unit, digits, title, log, markers }) {
  const datasets = groups.flatMap((group) =>
    lineWithBand(group, group[source].epoch, group[source][band], radius, scale, markers));
  const text = (value) => (digits === null ? value.toExponential(2).replace("-", "−") : grouped(value, digits)) + unit;
  draw(id, label, {
    type: "line", data: { datasets },
    options: {
      interaction: { mode: "index", intersect: false, axis: "x" },
      scales: { x: axis("epoch", "linear", { min: 0 }), y: log ? logarithmic(title) : axis(title, "linear") },
      plugins: {
        tooltip: {
          callbacks: {
            title: (items) => (items.length ? `epoch ${grouped(items[0].parsed.x, 2)}` : ""),
            label: ({ dataset, dataIndex, parsed }) => {
              const [low, high] = [dataset.low[dataIndex], dataset.high[dataIndex]];
              return ` ${dataset.label}: ${text(parsed.y)}` + (high > low ? `  (${text(low)} to ${text(high)})` : "");
            },
          },
        },
      },
    },
  });
}

function drawTraining(groups, state) {
  drawCurves("training-chart", `Training loss by epoch of ${names(groups)}`, groups, {
    source: "curve", band: "loss", radius: state.smoothing, scale: 1, unit: "", digits: 4,
    title: state.lossScale === "log" ? "training loss (log)" : "training loss", log: state.lossScale === "log", markers: false,
  });
}

function drawValidation(groups, state) {
  const accuracy = state.validation === "accuracy";
  drawCurves("validation-chart", `Validation ${state.validation} by epoch of ${names(groups)}`, groups, {
    source: "validation", band: state.validation, radius: 0, scale: accuracy ? 100 : 1, unit: accuracy ? " %" : "",
    digits: accuracy ? 2 : 4, title: accuracy ? "validation accuracy (%)" : "validation loss", log: false, markers: true,
  });
}

function drawRates(groups) {
  drawCurves("rate-chart", `Learning rate by epoch of ${names(groups)}, logarithmic`, groups, {
    source: "curve", band: "rate", radius: 0, scale: 1, unit: "", digits: null, title: "learning rate (log)", log: true, markers: false,
  });
}

const names = (groups) => groups.map((group) => group.schedule).join(", ") || "no schedule";

// Change of log10(rate) from one stretch of the run to the next, and fall of the mean loss.
function drawChanges(groups, state) {
  const datasets = groups.map((group) => {
    const fall = smoothed(group.curve.loss.mean, Math.max(1, state.smoothing));
    const rate = group.curve.rate.mean;
    const list = fall.slice(1).map((value, i) => ({ x: Math.log10(rate[i + 1] / rate[i]), y: fall[i] - value, epoch: group.curve.epoch[i + 1] }));
    const colour = colourOf(group.schedule);
    return {
      label: group.schedule, schedule: group.schedule, data: list.filter((point) => isNumber(point.x) && isNumber(point.y)),
      backgroundColor: transparent(colour, .5), borderColor: colour, borderWidth: 1, pointRadius: 3.5, pointHoverRadius: 5,
      pointStyle: kPoints[styleOf(group.schedule)],
    };
  });
  draw("change-chart", `Change of the learning rate against fall of the training loss of ${names(groups)}`, {
    type: "scatter", data: { datasets },
    options: {
      scales: { x: axis("change of learning rate (decades)", "linear"), y: axis("fall of training loss", "linear") },
      plugins: {
        tooltip: {
          callbacks: {
            label: ({ dataset, raw }) => ` ${dataset.label}, epoch ${grouped(raw.epoch, 2)}: rate × ${(10 ** raw.x).toPrecision(3)}, ` +
              `loss ${signed(grouped(-raw.y, 4), -raw.y)}`,
          },
        },
      },
    },
  });
}

// Bars from zero with whiskers of one standard deviation; a schedule that never got there has none.
const whiskers = {
  id: "whiskers",
  afterDatasetsDraw(chart) {
    const { ctx, scales: { x } } = chart;
    chart.getDatasetMeta(0).data.forEach((bar, i) => {
      const { mean, sd, text } = chart.data.datasets[0].rows[i];
      ctx.save();
      ctx.strokeStyle = ctx.fillStyle = cssColour("--ink");
      ctx.lineWidth = 1.5;
      ctx.font = "12px system-ui, sans-serif";
      ctx.textBaseline = "middle";
      let end = x.getPixelForValue(isNumber(mean) ? mean : 0);
      if (isNumber(mean) && isNumber(sd) && sd > 0) {
        const [low, high] = [x.getPixelForValue(Math.max(0, mean - sd)), x.getPixelForValue(mean + sd)];
        ctx.beginPath();
        ctx.moveTo(low, bar.y); ctx.lineTo(high, bar.y);
        for (const at of [low, high]) { ctx.moveTo(at, bar.y - 5); ctx.lineTo(at, bar.y + 5); }
        ctx.stroke();
        end = high;
      }
      ctx.fillText(text, end + 8, bar.y);
      ctx.restore();
    });
  },
};

function drawConvergence(groups, state) {
  const { kind, label } = metrics[state.convergence];
  const rows = groups.map((group) => {
    const metric = group.metrics[state.convergence];
    if (metric.count === 0) return { mean: null, text: "never" };
    const some = metric.count < group.runs ? ` (${metric.count} of ${group.runs} runs)` : "";
    return { mean: metric.mean, sd: metric.sd, text: figure(metric.mean, kind) + some };
  });
  const reached = rows.some((row) => isNumber(row.mean));
  const most = Math.max(0, ...rows.map((row) => (row.mean || 0) + (row.sd || 0)));
  const colours = groups.map((group) => colourOf(group.schedule));
  draw("convergence-chart", `${label}: ${groups.map((group, i) => `${group.schedule} ${rows[i].text}`).join(", ")}`, {
    type: "bar",
    data: {
      labels: groups.map((group) => group.schedule),
      datasets: [{ data: rows.map((row) => row.mean), rows, backgroundColor: colours.map((c) => transparent(c, .75)), borderColor: colours, borderWidth: 1, maxBarThickness: 34 }],
    },
    plugins: [whiskers],
    options: {
      indexAxis: "y",
      scales: {
        x: axis(`${label.toLowerCase()}${kind === seconds ? " of training" : ""}`, "linear", { min: 0, suggestedMax: most * 1.35 || 1, ticks: reached ? {} : { display: false } }),
        y: { ...axis("", "category"), title: { display: false }, ticks: { color: cssColour("--ink"), font: { size: 12 },
          callback(value) { const name = this.getLabelForValue(value); return name.length > 18 ? name.slice(0, 17) + "…" : name; } } },
      },
      plugins: { tooltip: { callbacks: { label: ({ dataIndex }) => {
        const { sd, text } = rows[dataIndex];
        return ` ${text}` + (isNumber(sd) ? ` ± ${figure(sd, kind)}` : "");
      } } } },
    },
  });
}

// Final validation accuracy by initial rate, one line a schedule, whiskers as a band of one standard deviation.
function drawRobustness(model, visible) {
  const datasets = schedules.filter(visible).flatMap((schedule) => {
    const groups = data.groups.filter((group) => group.model === model && group.schedule === schedule).sort((a, b) => a.rate - b.rate);
    if (groups.length === 0) return [];
    const all = groups.map((group) => group.metrics.validation_accuracy);
    const band = {
      mean: all.map((m) => m.mean),
      low: all.map((m) => (isNumber(m.mean) ? Math.max(0, m.mean - (m.sd || 0)) : null)),
      high: all.map((m) => (isNumber(m.mean) ? Math.min(1, m.mean + (m.sd || 0)) : null)),
    };
    const runs = Math.max(...groups.map((group) => group.runs));
    const sets = lineWithBand({ schedule, runs }, groups.map((group) => group.rate), band, 0, 100, true);
    sets[0].spreads = all.map((m) => (isNumber(m.sd) ? ` ± ${figure(m.sd, percent, false)}` : ""));
    return sets;
  });
  draw("robustness-chart", `Final validation accuracy against initial learning rate of ${schedules.filter(visible).join(", ") || "no schedule"}`, {
    type: "line", data: { datasets },
    options: {
      interaction: { mode: "x", intersect: false },
      scales: { x: logarithmic("initial learning rate (log)"), y: axis("validation accuracy (%)", "linear") },
      plugins: {
        tooltip: {
          callbacks: {
            title: (items) => (items.length ? `initial rate ${rateText(items[0].parsed.x)}` : ""),
            label: ({ dataset, dataIndex, parsed }) => ` ${dataset.label}: ${grouped(parsed.y, 2)} %${dataset.spreads[dataIndex]}`,
          },
        },
      },
    },
  });
}
