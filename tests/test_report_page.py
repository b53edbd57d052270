#!/usr/bin/env python3
"""report.html in a real browser: nothing on the console, every chart drawn, both themes, no scrolling sideways on a phone, the
controls by keyboard. Usage: test_report_page.py FOLDER_OF_THE_BINARIES [FOLDER_FOR_SCREENSHOTS]; exit code 77: no Chromium."""
import os
import subprocess
import sys
import tempfile

from browser import Browser, find_chromium

BINARY = os.path.join(os.path.abspath(sys.argv[1]), "compare_schedules")
CHARTS = ["training-chart", "validation-chart", "rate-chart", "change-chart", "convergence-chart", "robustness-chart"]

# How many pixels of each canvas are not transparent. Read from a copy: the browser complains of canvases that are read often.
INK = """Object.fromEntries([...document.querySelectorAll("canvas")].map(canvas => {
  const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
  const context = copy.getContext("2d", { willReadFrequently: true });
  if (canvas.width * canvas.height > 0) context.drawImage(canvas, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  let ink = 0;
  for (let i = 3; i < pixels.length; i += 4) ink += pixels[i] > 0;
  return [canvas.id, ink];
}))"""
PICTURES = 'Object.fromEntries([...document.querySelectorAll("canvas")].map(canvas => [canvas.id, canvas.toDataURL()]))'
# Relative luminance of text and ground (WCAG 2.1) -> their contrast.
CONTRAST = """(selector => {
  const luminance = text => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const ground = node => {
    const colour = getComputedStyle(node).backgroundColor;
    return colour === "rgba(0, 0, 0, 0)" ? ground(node.parentElement) : colour;
  };
  const node = document.querySelector(selector);
  const [a, b] = [getComputedStyle(node).color, ground(node)].map(luminance);
  return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
})"""


def make_report(folder, *flags):
    subprocess.run([BINARY, "--model", "mnist_mlp", "--schedules", "constant,linear,adaptive", "--seeds", "2", "--epochs", "2",
                    "--threshold", "0.7", "--out", folder, *flags, "--", "--limit-train", "640", "--limit-eval", "100"],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return os.path.join(folder, "report.html")


def check_charts(browser):
    ink = browser.value(INK)
    assert sorted(ink) == sorted(CHARTS), ink
    # Axes and grid alone cover less than the smallest of these.
    assert all(count > 3000 for count in ink.values()), ink
    assert browser.value('[...document.querySelectorAll("canvas")].every(c => c.getAttribute("aria-label").length > 10)')
    data = browser.value("[...charts.values()].map(c => c.data.datasets.reduce((sum, set) => sum + set.data.length, 0))")
    assert len(data) == len(CHARTS) and all(count > 0 for count in data), data


def check_width(browser, width):
    for node in ("document.documentElement", "document.body"):
        assert browser.value(f"{node}.scrollWidth") <= width, (node, browser.value(f"{node}.scrollWidth"), width)
    assert browser.value("innerWidth") == width, "the page was laid out wider than the screen"


def check_contrast(browser):
    for selector in ("h1", ".lede", ".hint", ".card .label", "td", "td .sd", "thead th", "dt", "dd", ".segments input:checked + span"):
        contrast = browser.value(f"{CONTRAST}({selector!r})")
        assert contrast >= 4.5, (selector, contrast)


def check_controls(browser):
    browser.settle()
    before = browser.value(PICTURES)
    # A card hides its schedule in every chart; it keeps the focus, so that the keyboard can take it back.
    browser.value('document.querySelector(".card").focus()')
    browser.key("Enter", 13)
    browser.call("Input.dispatchKeyEvent", type="char", text="\r")
    browser.settle()
    assert browser.value('document.querySelector(".card").getAttribute("aria-pressed")') == "false"
    assert browser.value('document.activeElement === document.querySelector(".card")')
    hidden = browser.value(PICTURES)
    assert all(hidden[name] != before[name] for name in CHARTS), [name for name in CHARTS if hidden[name] == before[name]]
    browser.value('document.querySelector(".card").click()')
    browser.settle()
    again = browser.value(PICTURES)
    assert again == before, ["looks otherwise with all schedules back", [name for name in CHARTS if again[name] != before[name]]]
    # Radios: an arrow key chooses the neighbour.
    browser.value("""document.querySelector('#smoothing-choice input:checked').focus()""")
    browser.key("ArrowRight", 39)
    browser.settle()
    assert browser.value("state.smoothing") == 2
    smooth = browser.value(PICTURES)
    assert smooth["training-chart"] != before["training-chart"] and smooth["rate-chart"] == before["rate-chart"]
    assert browser.value('document.activeElement === document.querySelector("#smoothing-choice input:checked")')
    for control, chart in (("loss-scale", "training-chart"), ("validation-figure", "validation-chart"), ("rate-choice", "rate-chart")):
        browser.value(f"document.querySelector('#{control} input:not(:checked)').click()")
        browser.settle()
        assert browser.value(PICTURES)[chart] != before[chart], control
    browser.value("""{ const s = byId('convergence-measure'); s.value = 'seconds_to_baseline_loss'; s.dispatchEvent(new Event('change')); }""")
    assert browser.value(PICTURES)["convergence-chart"] != before["convergence-chart"]
    # Every run: sorted by a column, either way.
    browser.value('document.querySelector("details").open = true')
    column = """[...document.querySelectorAll("#runs-table tbody tr")].map(row => row.children[3].textContent)"""
    browser.value('document.querySelectorAll("#runs-table th button")[3].click()')
    rising = browser.value(column)
    browser.value('document.querySelectorAll("#runs-table th button")[3].click()')
    assert len(rising) == 12 and rising == sorted(rising, key=float) and browser.value(column) == rising[::-1], rising


def check_tooltip(browser):
    text = browser.value("""(() => {
      const chart = charts.get("validation-chart");
      chart.tooltip.setActiveElements(chart.data.datasets.flatMap((set, i) => set.band ? [] : [{ datasetIndex: i, index: 0 }]), { x: 0, y: 0 });
      const text = [chart.tooltip.title, ...chart.tooltip.body.map(part => part.lines)].flat().join("|");
      chart.tooltip.setActiveElements([], { x: 0, y: 0 });
      chart.update();
      return text;
    })()""")
    assert text.startswith("epoch 1.00|") and text.count(" %") >= 3, text


def main():
    program = find_chromium()
    if program is None:
        print("skipped: the report was not looked at, there is no Chromium")
        return 77
    with tempfile.TemporaryDirectory() as folder, Browser(program, seconds=200) as browser:
        shots = sys.argv[2] if len(sys.argv) > 2 else folder
        page = make_report(os.path.join(folder, "out"), "--lrs", "1e-3,1e-2")
        assert os.path.getsize(page) < 3 << 20, os.path.getsize(page)
        browser.view(1440, 900)
        browser.open(page)
        if browser.value("typeof Chart") == "undefined":
            assert "libjs-chart.js" in browser.value("byId('notices').textContent")
            assert browser.value('document.querySelectorAll("#results-table tbody tr").length') == 6
            assert browser.complaints == [], browser.complaints
            print("skipped: this build has no Chart.js; the page says so, and has its tables")
            return 77
        check_charts(browser)
        check_width(browser, 1440)
        check_contrast(browser)
        check_tooltip(browser)
        browser.screenshot(os.path.join(shots, "desktop.png"))
        check_controls(browser)
        light = browser.value("getComputedStyle(document.body).backgroundColor")

        browser.view(1440, 900, dark=True)
        browser.open(page)
        check_charts(browser)
        check_contrast(browser)
        dark = browser.value("getComputedStyle(document.body).backgroundColor")
        assert dark != light, dark
        browser.screenshot(os.path.join(shots, "dark.png"))
        pictures = browser.value(PICTURES)
        browser.value('byId("theme").click()')
        assert browser.value("getComputedStyle(document.body).backgroundColor") == light, "the toggle did nothing"
        assert browser.value(PICTURES)["training-chart"] != pictures["training-chart"], "the charts kept the other theme's colours"

        for width in (390, 320):
            browser.view(width, 844)
            browser.open(page)
            check_charts(browser)
            check_width(browser, width)
            browser.screenshot(os.path.join(shots, f"phone-{width}.png"))
        # Two tasks, one initial rate, one seed: no bands, no intervals; each task has its own cards and tables.
        page = make_report(os.path.join(folder, "tasks"), "--model", "mnist_mlp,mnist_cnn", "--lrs", "1e-3", "--seeds", "1")
        browser.view(1440, 900)
        browser.open(page)
        check_charts(browser)
        facts = browser.value("byId('configuration').textContent")
        assert "mnist_mlp, 101,770 parameters" in facts, facts
        before = browser.value(PICTURES)
        browser.value("document.querySelector('#task-choice input:not(:checked)').click()")
        browser.settle()
        check_charts(browser)
        assert browser.value(PICTURES)["training-chart"] != before["training-chart"], "the other task has the same curves"
        facts = browser.value("byId('configuration').textContent")
        assert "mnist_cnn, 1,199,882 parameters" in facts, facts
        assert browser.complaints == [], browser.complaints
    print("report page: all checks passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
