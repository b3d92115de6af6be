"""bench/report.py and bench/readme_table.py, held against a small result with known figures (fixture_result.json)."""

import copy
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
BENCH = ROOT / "bench"
FIXTURE = Path(__file__).resolve().parent / "fixture_result.json"
sys.path.insert(0, str(BENCH))

import readme_table  # noqa: E402
import report_bars  # noqa: E402
import report_markdown  # noqa: E402
import report_results  # noqa: E402


def report(*arguments):
    command = [sys.executable, BENCH / "report.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def written(tmp_path, content, *arguments, name="result.json"):
    """The page that is made of a result."""
    source = tmp_path / name
    source.write_text(json.dumps(content))
    done = report(source, "--html", tmp_path / "page.html", "--history", tmp_path / "none", *arguments)
    assert done.returncode == 0, done.stderr
    return (tmp_path / "page.html").read_text()


@pytest.fixture
def content():
    return json.loads(FIXTURE.read_text())


@pytest.fixture(scope="module")
def markdown():
    done = report(FIXTURE, "--markdown")
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return written(tmp_path_factory.mktemp("page"), json.loads(FIXTURE.read_text()))


class Texts(HTMLParser):
    """Rows of every table, as lists of their cells' text; and each attribute."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.attributes, self.tags, self.cell = [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.cell = tag

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.cell = None

    def handle_data(self, data):
        if self.cell:
            self.rows[-1][-1] = (self.rows[-1][-1] + " " + data).strip()


def cells(markdown, *starts):
    """Cells of the one line whose first cells these are, in the tables after the limits."""
    lines = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in markdown.splitlines() if "|" in line]
    (line,) = [line for line in lines if tuple(line[: len(starts)]) == starts]
    return line


G1 = ["kernel_f32", "0.88 (0.87–0.89)", "f32 avx2", "openblas (0.88)", "1.004 (0.99–1.01)", "no difference", "3.25"]
G11 = [
    *("kernel_f64", "0.12 (0.12–0.12)", "f64 avx2", "openblas batch_strided (0.16)"),
    *("0.75 (0.73–0.77)", "slower", "2"),
]
G20 = ["kernel_f32", "0.90 (0.88–0.92)", "read", "openblas (0.46)", "1.94 (1.88–2.03)", "faster", "40"]
G15 = ["kernel_u8s8", "0.92 (0.91–0.93)", "u8s8 avx2", "none right", "–", "", "0"]
G26 = ["not in Hunze yet", "–", "read", "onnxruntime MatMulNBits accuracy_level=4 (0.53)", "–", "", "–"]


@pytest.mark.parametrize(
    ("row", "dtype", "shape", "figures"),
    [
        ("g11", "f64", "9x9x9 b10000", G11),
        ("g15", "u8s8", "384x1024x4096 packed", G15),
        ("g26", "w4g32", "1x11008x4096 packed", G26),
    ],
)
def test_tables_hold_the_figures_of_the_result(markdown, page, row, dtype, shape, figures):
    assert [row, dtype, shape, *figures] in Texts(page).rows
    lines = [line for line in markdown.splitlines() if line.startswith("| %s " % row)]
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == [row, dtype, shape, *figures]


def test_each_number_of_threads_has_its_table(markdown, page):
    one, two = re.split(r"^## 2 threads$", markdown.split("## 1 thread\n")[1], flags=re.M)
    assert cells(one, "g1", "f32", "1024x1024x1024")[3:] == G1
    assert cells(one, "g20", "f32", "2x512x500000")[3:] == G20
    assert cells(two, "g1")[4:9] == [
        "0.84 (0.81–0.85)", "f32 avx2", "openblas (0.77)", "1.09 (1.04–1.15)", "faster"
    ]  # fmt: skip
    assert "2 faster, 1 no difference, 1 slower" in one and "1 faster, 0 no difference, 0 slower" in two
    assert "2 faster, 1 no difference, 1 slower" in page and "1 faster, 0 no difference, 0 slower" in page


def test_device_limits_libraries_and_joules_are_told(markdown, page):
    for text in (
        "Example CPU at 3.2 GHz", "L1d 32.0 KiB, L2 512 KiB, L3 32.0 MiB", "revision 0f1e2d3",
        "mkl is missing: libmkl_rt.so.3 is not there", "this machine shows no energy counter", "2026-11-20T09:30:00Z",
    ):  # fmt: skip
        assert text in markdown and text in page, text
    assert cells(markdown, "f32 avx2") == ["f32 avx2", "100 Gop/s", "196 Gop/s"]
    assert cells(markdown, "read") == ["read", "20.0 GB/s", "24.0 GB/s"]
    assert ["read", "20.0 GB/s", "24.0 GB/s"] in Texts(page).rows


@pytest.mark.parametrize(
    ("threads", "head", "rate"),
    [([1], "several threads", "–"), ([1, 2], "2 threads", "24.0 GB/s"), ([1, 6, 3], "6 threads", "24.0 GB/s")],
)
def test_limits_of_several_threads_stand_where_they_were_measured(threads, head, rate, content, tmp_path):
    content["settings"]["threads"] = threads
    lines = [["limit", "1 thread", head], ["read", "20.0 GB/s", rate]]
    rows = Texts(written(tmp_path, content)).rows
    for line in lines:
        assert line in rows and cells(report(tmp_path / "result.json", "--markdown").stdout, line[0], line[1]) == line


def test_wrong_results_and_crashes_are_listed(markdown, page, content, tmp_path):
    wrong = [
        "g15",
        "u8s8",
        "1",
        "onnxruntime MatMulInteger",
        "66311 ULP",
        "0.81 (0.80–0.83) × hunze's time",
    ]
    crashed = ["c2", "f32", "1", "onnxruntime", "ended by signal 11 in run"]
    for line in (wrong, crashed):
        assert line in Texts(page).rows
        assert cells(markdown, *line) == line
    assert "1 wrong result, 0 of them hunze" in page
    plan = content["rows"][4]["implementations"][0]
    plan.update(wrong=True, of_bound=7.5)
    ours = written(tmp_path, content)
    assert "2 wrong results, 1 of them hunze" in ours
    lists = [row for row in Texts(ours).rows if len(row) == 6 and "ULP" in row[4] and row[0] != "row"]
    assert [row[0] for row in lists] == ["g20", "g15"] and lists[0][4] == "40 ULP, 7.50 times the bound"
    assert "0.90 (0.88–0.92), WRONG" in ours
    assert "1 faster, 1 no difference, 1 slower" in ours, "a row with a wrong result is no win"


def test_a_wrong_or_failed_peer_is_never_the_best(content):
    for row in map(report_results.row_of, content["rows"]):
        assert row.best is None or row.best.sound
    row = content["rows"][1]
    row["implementations"][1]["wrong"] = True
    assert report_results.row_of(row).best.label == "onnxruntime MatMul"
    python = dict(row["implementations"][2], library="hunze_python", seconds=1e-9)
    row["implementations"].append(python)
    assert report_results.row_of(row).best.label == "onnxruntime MatMul", "hunze itself is no peer"
    row["implementations"][2]["failed"] = "ended by signal 6 in run"
    assert report_results.row_of(row).best is None


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(1.01, 1.3, "faster"), (0.7, 0.99, "slower"), (0.9, 1.05, "no difference"), (1, 1.2, "no difference")],
)
def test_verdicts(content, low, high, verdict):
    over = content["rows"][1]["implementations"][0]["over"]
    over["openblas"] = {"median": (low + high) / 2, "low": low, "high": high, "verdict": "recorded"}
    assert report_results.row_of(content["rows"][1]).best.verdict == verdict


def test_fewer_than_six_rounds_give_no_interval_and_no_verdict(content, tmp_path):
    """Five values bound the median with 94 %, one with nothing."""
    plan, _, peer = content["rows"][0]["implementations"]
    figures, bars, past = {}, {}, {}
    for rounds in (5, 6):
        peer["samples"] = [0.0245] * rounds + [None] * (9 - rounds)
        page = written(tmp_path, content)
        figures[rounds] = cells(report(tmp_path / "result.json", "--markdown").stdout.split("## 2 threads")[0], "g1")
        told = page.count('<td class="n" title="5 rounds">1.004</td>')  # in the table, and in the details
        assert told == (2 if rounds == 5 else 0)
        note = "Here: g1 f32 ratio (5 rounds)."
        assert (note in report(tmp_path / "result.json", "--markdown").stdout) == (rounds == 5)
        assert ("2 faster, 0 no difference, 1 slower, 1 without a verdict." in page) == (rounds == 5)
        row = report_results.row_of(content["rows"][0])
        bars[rounds] = report_bars.ratios("openblas", [(row, row.best)], 1)
        past[rounds] = report_bars.past({1: [(0, row.best.of_limit)]}, [1], 1)
        cell = "1.004: openblas (0.88)" if rounds == 5 else "1.004 (0.99–1.01), no difference: openblas (0.88)"
        assert "| 0.88 (0.87–0.89) | %s |" % cell in readme_table.made(tmp_path / "result.json", ["g1"])
    assert figures[5][6:9] == ["openblas (0.88)", "1.004", ""]
    assert figures[6][6:9] == ["openblas (0.88)", "1.004 (0.99–1.01)", "no difference"]
    assert bars[6].count('id="') - bars[5].count('id="') == 3, "a whisker and its ends"
    assert "fill: var(--stone)" in bars[6] and "fill: var(--stone)" not in bars[5]
    assert bars[5].count("fill: var(--soft)") == bars[6].count("fill: var(--soft)"), "the bar is an outline"
    assert "LineCollection" in past[6] and "LineCollection" not in past[5]
    plan["samples"] = [plan["seconds"]]
    row = report_results.row_of(content["rows"][0])
    assert str(row.plan.of_limit) == "0.88" and row.best.ratio.rounds == 1


def test_prepacking_and_overhead_have_lines(markdown, page):
    assert cells(markdown, "g15", "u8s8", "384x1024x4096 packed", "1") == [
        "g15", "u8s8", "384x1024x4096 packed", "1", "hunze plan", "4.36 ms", "0.20 calls"
    ]  # fmt: skip
    told = markdown.split("## Call overhead")[1]
    assert told.index("| hunze ") < told.index("| openblas "), "hunze's own first"
    rows = Texts(page).rows
    assert ["g22", "bf16", "1x4096x14336 packed", "1", "onnxruntime MatMul", "98.0 ms", "10.0 calls"] in rows
    for line in (
        ["hunze", "plan", "61", "88"],
        ["openblas", "", "95", "131"],
        ["onnxruntime", "no answer for 60 s", "–", "–"],
    ):
        assert line in rows and cells(markdown, *line) == line


def test_the_plan_is_explained(page):
    details = page.split("<details>")
    assert "fewest modelled cycles of the kernels that take the call" in details[1]
    assert re.search(r"kernel_f64, gemm_f64_portable</code>: takes f64 with f64", details[1])
    assert "not in Hunze yet: no 4-bit weights" in page


def test_figures_show_each_family_and_peer(page):
    labels = dict.fromkeys(value for name, value in Texts(page).attributes if name == "aria-label")
    assert {"Roofline of f32, 1 thread: 4 rows", "Roofline of bf16, 1 thread: 1 row",
            "Roofline of u8s8, 1 thread: 2 rows",
            "hunze over openblas, 1 thread: 4 rows", "hunze over onnxruntime, 1 thread: 2 rows",
            "hunze over openblas, 2 threads: 1 row"} <= set(labels)  # fmt: skip
    bars = page[page.index('aria-label="hunze over onnxruntime') :].split("</svg>")[0]
    assert "0.81 wrong" in bars and "52.1" in bars and "g15 u8s8" in bars
    roofline = page[page.index('aria-label="Roofline of f32, 1') :].split("</svg>")[0]
    assert "f32 avx2, 100 Gop/s" in roofline and "read, 20.0 GB/s" in roofline
    assert set(re.findall(r">([gc]\d+)<", roofline)) == {"g1", "g7", "g20", "c2"}
    assert not re.search(r"#0a0b1\d", page), "a colour that is not the page's"
    ids = [value for name, value in Texts(page).attributes if name == "id"]
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', page)
    assert used and set(used) <= set(ids)


def test_the_page_stands_alone(page):
    texts = Texts(page)
    assert not {"link", "iframe", "img", "object", "embed"} & set(texts.tags)
    loads = [value for name, value in texts.attributes if name in ("src", "href", "xlink:href", "data", "action")]
    assert all(value.startswith("#") for value in loads)
    assert not re.search(r"https?://|@import|url\((?!#)", page)


def test_what_a_result_says_is_escaped(content, tmp_path):
    evil = "<script>alert(1)</script>|\x1b[31m"
    for library in content["libraries"]:
        library["name"] = library["name"].replace("openblas", evil)
    for row in content["rows"]:
        for one in row["implementations"]:
            one["library"] = one["library"].replace("openblas", evil)
            one["over"] = {key.replace("openblas", evil): value for key, value in one.get("over", {}).items()}
    for one in content["overhead"]:
        one["library"] = one["library"].replace("openblas", evil)
    content["device"]["name"] = "</title><script>x</script>"
    page = written(tmp_path, content)
    assert page.count("<script>") == 1, "only the page's own"
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    markdown = report(tmp_path / "result.json", "--markdown").stdout
    assert "\x1b" not in markdown and "<script>alert(1)</script>\\|" in markdown


def test_history_is_by_date(content, tmp_path):
    folder = tmp_path / "recorded" / content["device"]["name"]
    folder.mkdir(parents=True)
    for name, date, part in (("a", "2026-11-19T10:00:00Z", 0.7), ("b", "2026-10-01T10:00:00+00:00", 0.5)):
        old = copy.deepcopy(content)
        old.update(date=date, revision="rev-" + name)
        old["rows"][0]["implementations"][0]["of_limit"] = {"median": part, "low": part, "high": part}
        (folder / (name + ".json")).write_text(json.dumps(old))
    (folder / "before.json").write_text('{"machine": {}, "figures": []}')
    (folder / "same.json").write_text(json.dumps(content))
    results, unread = report_results.recorded(tmp_path / "recorded", content["device"]["name"])
    assert not unread and len(results) == 3
    points = report_results.history(results)["g1", "f32", "1024x1024x1024", 1]
    assert [(result.revision, interval.median) for result, interval in points] == [
        ("rev-b", 0.5), ("rev-a", 0.7), ("0f1e2d3", 0.881)
    ]  # fmt: skip
    page = written(tmp_path, content, "--history", tmp_path / "recorded")
    assert "2026-10-01 rev-b, 2026-11-19 rev-a, 2026-11-20 0f1e2d3" in page
    assert page.count('aria-label="part of the limit over 3 recorded results"') == 6
    (folder / "cut.json").write_text('{"schema": 1, "rows": [')
    done = report(FIXTURE, "--html", tmp_path / "page.html", "--history", tmp_path / "recorded")
    assert done.returncode == 0 and len(done.stderr.splitlines()) == 1 and "cut.json is not JSON" in done.stderr


def test_all_rows_of_the_history_have_one_axis_and_one_key(content, tmp_path):
    """Other results may have other numbers of threads, and rows that the latest one has not."""
    folder = tmp_path / "recorded" / content["device"]["name"]
    folder.mkdir(parents=True)
    for date, threads, renamed in (("2026-10-01", 4, {"g1": "g1", "g7": "g99"}), ("2026-11-01", 1, {"g7": "g7"})):
        old = copy.deepcopy(content)
        old.update(date=date, rows=[row for row in old["rows"][:2] if row["id"] in renamed])
        for row in old["rows"]:
            row.update(id=renamed[row["id"]], threads=threads)
        (folder / (date + ".json")).write_text(json.dumps(old))
    page = written(tmp_path, content, "--history", tmp_path / "recorded").split("<h2>History</h2>")[1]
    key = re.findall(r'background: var\(--(\w+)\)"></i>(\d+) thread', page.split("</ul>")[0])
    assert key == [("river", "1"), ("clay", "2"), ("stone", "4")]
    assert page.count('aria-label="part of the limit over 3 recorded results"') == 7
    marks = {}  # of each row: (colour, where it stands on the axis)
    for figure in page.split("<figcaption>")[1:]:
        row = re.match(r"<b>(\w+)</b>", figure).group(1)
        marks[row] = set(
            re.findall(r'<use [^>]* x="([\d.]+)" y="[\d.]+" style="fill: var\(--(river|clay|stone)\)', figure)
        )
    (first,) = (place for place, colour in marks["g99"] if colour == "stone")
    assert (first, "stone") in marks["g1"] and len(marks["g1"]) == 3 and len(marks["g99"]) == 1
    (last,) = (place for place, colour in marks["g11"] if colour == "river")
    assert {(last, "river"), (last, "clay")} < marks["g1"] and float(first) < float(last)
    assert {colour for _, colour in marks["g7"]} == {"river"} and len(marks["g7"]) == 2


def test_without_a_record_the_history_says_so(page):
    assert "No earlier result is recorded for this device." in page


def cut(text):
    return text[: len(text) // 2]


def without_rows(text):
    content = json.loads(text)
    del content["rows"][1]["implementations"][0]["ulp"]
    return json.dumps(content)


def changed(*path, to):
    """Damage: a member has another value."""

    def damage(text):
        content = inner = json.loads(text)
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = to
        return json.dumps(content)

    return damage


PLAN = "rows", 0, "implementations", 0


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut, "is not JSON"),
        (lambda text: "", "is not JSON"),
        (lambda text: "[1]", 'no "schema": 1'),
        (lambda text: text.replace('"schema": 1', '"schema": 2', 1), 'no "schema": 1'),
        (without_rows, "it.rows[1].implementations[0] has no 'ulp'"),
        (changed("rows", 0, "threads", to="two"), "it.rows[0].threads is 'two', not of int"),
        (changed("settings", "cpus", to=["first"]), "it.settings.cpus[0] is 'first', not of int"),
        (changed("settings", "cpus", to=1), "it.settings.cpus is no list"),
        (changed("settings", "interrupted", to=1), "it.settings.interrupted is 1, not of bool"),
        (changed("device", "caches", to=["L1d"]), "it.device.caches is no object"),
        (changed("device", "caches", "L3", to="32M"), "it.device.caches.L3 is '32M', not of int"),
        (changed("device", "isa", to="avx2"), "it.device.isa is no list"),
        (changed(*PLAN, "of_limit", to=0.88), "it.rows[0].implementations[0].of_limit is no object"),
        (changed(*PLAN, "of_limit", to={"median": 1}), "it.rows[0].implementations[0].of_limit has no 'low'"),
        (changed(*PLAN, "of_limit", "high", to="1"), "it.rows[0].implementations[0].of_limit.high is '1'"),
        (changed(*PLAN, "over", to=[]), "it.rows[0].implementations[0].over is no object"),
        (changed(*PLAN, "over", "openblas", to=1.004), "it.rows[0].implementations[0].over.openblas is no object"),
        (changed(*PLAN, "over", "openblas", "low", to=[]), "it.rows[0].implementations[0].over.openblas.low is []"),
        (changed(*PLAN, "explain", "kernel", to=1), "it.rows[0].implementations[0].explain.kernel is 1, not of str"),
        (changed("rows", 0, "absent", "mkl", to=1), "it.rows[0].absent.mkl is 1, not of str"),
    ],
)
def test_what_is_no_result_is_one_line(damage, words, tmp_path):
    source = tmp_path / "result.json"
    source.write_text(damage(FIXTURE.read_text()))
    for arguments in (["--markdown"], ["--html", tmp_path / "page.html"]):
        done = report(source, *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1 and words in done.stderr and str(source) in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result.json"]


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    done = report(tmp_path / "none.json")
    assert done.returncode == 2 and done.stderr == "report: %s cannot be read: No such file or directory\n" % (
        tmp_path / "none.json"
    )


def test_an_unwritable_page_is_told_before_any_work(tmp_path):
    """Before the result is read: that one is not even there."""
    for target, words in ((tmp_path, "is a folder"), (tmp_path / "no" / "page.html", "there is no folder"),
                          (Path("/proc/page.html"), "cannot be written")):  # fmt: skip
        done = report(tmp_path / "none.json", "--html", target)
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1 and words in done.stderr and str(target) in done.stderr


def test_what_the_page_needs_is_said(tmp_path, monkeypatch):
    """With what that needs in turn, which is in other lists here."""
    (tmp_path / "jinja2.py").write_text("raise ModuleNotFoundError('no jinja2', name='jinja2')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = report(FIXTURE, "--html", tmp_path / "page.html")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and not (tmp_path / "page.html").exists()
    assert (
        "needs jinja2: make bench installs it" in done.stderr and "pip install -r requirements/bench.txt" in done.stderr
    )


def test_several_results_make_one_page(content, tmp_path):
    second = copy.deepcopy(content)
    second["device"]["name"] = "second-device"
    (tmp_path / "second.json").write_text(json.dumps(second))
    page = written(tmp_path, content, tmp_path / "second.json")
    assert re.findall(r"<h1>(.*?)</h1>", page) == ["Hunze on example-avx2", "Hunze on second-device"]
    ids = [value for name, value in Texts(page).attributes if name == "id"]
    assert len(ids) == len(set(ids))


def test_the_performance_table_of_the_readme_is_that_of_its_result():
    text = (ROOT / "README.md").read_text()
    assert readme_table.current(text), "README.md has lost the markers of its table"
    assert text == readme_table.replaced(text), "run bench/readme_table.py --write"


def test_the_performance_table_is_made_from_a_named_result():
    source = FIXTURE.relative_to(ROOT).as_posix()
    empty = "before\n%s%safter\n" % (readme_table.BEGIN % "nothing", readme_table.END)
    text = readme_table.replaced(empty, source, ["g1", "g11"])
    assert text.startswith("before\n<!-- performance: made by bench/readme_table.py from %s g1, g11 -->\n" % source)
    assert text.endswith(readme_table.END + "after\n")
    assert readme_table.current(text) == (source, ["g1", "g11"]) and readme_table.replaced(text) == text
    assert "`%s`" % source in text and "revision 0f1e2d3, 2026-11-20" in text
    one = "0.88 (0.87–0.89) | 1.004 (0.99–1.01), no difference: openblas (0.88)"
    two = "0.84 (0.81–0.85) | 1.09 (1.04–1.15), faster: openblas (0.77)"
    assert "| g1 | f32 | 1024x1024x1024 | f32 avx2 | %s | %s |\n" % (one, two) in text
    assert "| g7 |" not in text and "| g26 |" not in readme_table.made(source)
    stale = text.replace("0.88 (0.87", "0.98 (0.97")
    assert readme_table.replaced(stale) == text != stale
    with pytest.raises(report_results.ResultError, match="has no row g99"):
        readme_table.made(source, ["g99"])
    with pytest.raises(report_results.ResultError, match="has no figure of hunze for g22, g26"):
        readme_table.made(source, ["g1", "g26", "g22"])
    with pytest.raises(report_results.ResultError, match="README.md has no lines"):
        readme_table.replaced("no markers", source)


def test_the_faster_layout_of_hunze_stands_for_it():
    """A convolution that is faster with its channels last is compared in that form, as its peers are."""
    content = json.loads(FIXTURE.read_text())
    row = next(row for row in content["rows"] if row["implementations"] and row["implementations"][0].get("over"))
    plan = row["implementations"][0]
    last = dict(plan, way="plan, channels last", seconds=plan["seconds"] / 2)
    last["over"] = {name: dict(ratio, median=9.0, low=8.0, high=10.0) for name, ratio in plan["over"].items()}
    row["implementations"].append(last)
    read = report_results.row_of(row)
    assert read.plan.way == "plan, channels last" and read.best.ratio.median == 9
    assert report_markdown.kernel(read).endswith(", channels last")
