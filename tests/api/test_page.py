"""The page in a real browser: Debian's Chromium, driven by playwright."""

import csv
import io
import json
import shutil
from pathlib import Path

import api_kit
import pytest
from makers import make_clients
from report_kit import make_reported

import apicalls
import diagnostics
import reporting
from config import load_config

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
NEEDS = "needs Debian's package chromium, playwright (requirements-dev.txt), and axe-core: run npm ci"
LOOK = "async () => (await axe.run()).violations.map(v => [v.impact, v.id, v.nodes.map(n => n.html)])"


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None or not AXE.exists():
        pytest.skip(NEEDS)
    playwright = pytest.importorskip("playwright.sync_api", reason=NEEDS)
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=CHROMIUM)
        yield started
        started.close()


def serve(root):
    return apicalls.serve(load_config(root / "config.json"))


@pytest.fixture(scope="module")
def addresses(tmp_path_factory):
    """Where a page is served with nothing yet, with one release, and with trends."""
    empty, one, more = (tmp_path_factory.mktemp(name) for name in ("empty", "one", "more"))
    (empty / "config.json").write_text(json.dumps(api_kit.KEYS))
    make_reported(one)
    make_reported(more)
    api_kit.deploy_new_world(more)
    api_kit.run(more, diagnostics, reporting)
    with serve(empty) as first, serve(one) as second, serve(more) as third:
        yield {"empty": first, "one": second, "more": third}


class Watched:
    """A page that remembers what it asked for and what it complained of."""

    def __init__(self, browser, address, **options):
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.complaints, self.asked, self.refused_with = [], [], None
        self.page.on("console", lambda message: self.note(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.address = address
        self.page.goto(f"{address}/")

    def note(self, complaint):
        """Note what the browser says; it also repeats the status of a refused form."""
        if self.refused_with is None or f"status of {self.refused_with} " not in complaint:
            self.complaints.append(complaint)

    def follow(self, act):
        """Do what leads to another page, and wait until it is there."""
        with self.page.expect_navigation():
            act()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()
        assert all(url.startswith(f"{self.address}/") for url in self.asked), self.asked
        assert self.complaints == []


@pytest.mark.parametrize("state", ["empty", "one", "more"])
@pytest.mark.parametrize("look", ["light", "dark"])
def test_it_opens_without_a_complaint_and_everybody_can_use_it(browser, addresses, state, look):
    with Watched(browser, addresses[state], color_scheme=look) as seen:
        assert seen.page.title().startswith("Attrition risk")
        seen.page.evaluate(AXE.read_text())
        found = seen.page.evaluate(LOOK)
        assert [one for one in found if one[0] in ("serious", "critical")] == []


@pytest.mark.parametrize("state", ["empty", "one", "more"])
def test_on_a_phone_nothing_is_wider_than_the_screen(browser, addresses, state):
    with Watched(browser, addresses[state], viewport={"width": 360, "height": 640}) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") == 360


def test_by_day_and_by_night_the_ground_is_another(browser, addresses):
    grounds = []
    for look in ("light", "dark"):
        with Watched(browser, addresses["one"], color_scheme=look) as seen:
            grounds.append(seen.page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert grounds == ["rgb(255, 255, 255)", "rgb(18, 22, 28)"]


def upload(seen, name, data):
    seen.page.get_by_label("CSV file").set_input_files({"name": name, "mimeType": "text/csv", "buffer": data})


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
def test_a_csv_comes_back_with_predictions(browser, addresses, scripts):
    rows = "\n".join(",".join(row[:3]) for row in make_clients(3, "u"))
    with Watched(browser, addresses["one"], java_script_enabled=scripts) as seen:
        upload(seen, "clients.csv", f"corporation,activity,colour\n{rows}\n".encode())
        with seen.page.expect_download() as arriving:
            seen.page.get_by_role("button", name="Get predictions").click()
        text = Path(arriving.value.path()).read_text()
        assert arriving.value.suggested_filename == "predictions.csv"
    found = list(csv.DictReader(io.StringIO(text)))
    assert [row["corporation"] for row in found] == [f"client-u-{k}" for k in range(3)]
    assert all(0 < float(row["predicted_probability"]) < 1 for row in found)


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"<html>", "HTML"), (b"\x00\x01\x02", "CSV"), (b"a,b\n1,2\n", "activity"), (b"", "empty")],
    ids=["page", "bytes", "other table", "nothing"],
)
def test_rubbish_gets_a_clear_message_on_the_page(browser, addresses, data, said):
    with Watched(browser, addresses["one"]) as seen:
        seen.refused_with = 400
        upload(seen, "rubbish.csv", data)
        seen.page.get_by_role("button", name="Get predictions").click()
        alert = seen.page.get_by_role("alert")
        assert said in alert.inner_text()
        assert seen.page.get_by_role("heading", name="Predict a file").is_visible()


def test_with_nothing_deployed_an_upload_says_what_is_missing(browser, addresses):
    with Watched(browser, addresses["empty"]) as seen:
        seen.refused_with = 503
        upload(seen, "clients.csv", b"activity,colour\n1,red\n")
        seen.page.get_by_role("button", name="Get predictions").click()
        assert "nothing is deployed yet" in seen.page.get_by_role("alert").inner_text()


def test_the_keyboard_alone_reaches_the_content_and_every_control(browser, addresses):
    with Watched(browser, addresses["one"]) as seen:
        reached = []
        for _ in range(60):
            seen.page.keyboard.press("Tab")
            where = seen.page.evaluate("[document.activeElement.tagName, document.activeElement.innerText]")
            outline = seen.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            if where[0] == "BODY":
                break
            assert outline != "none", where
            reached.append(where)
        assert reached[0] == ["A", "Skip to the content"]
        assert ["BUTTON", "Get predictions"] in reached and "INPUT" in {tag for tag, _ in reached}


def test_the_rollback_is_a_command_to_read_and_not_a_button(browser, addresses):
    with Watched(browser, addresses["more"]) as seen:
        assert "python deployment.py --rollback" in seen.page.inner_text("main")
        names = [button.inner_text() for button in seen.page.get_by_role("button").all()]
        assert not [name for name in names if "roll" in name.lower()]


@pytest.mark.slow
def test_report_html_opens_with_the_network_off(browser, tmp_path):
    make_reported(tmp_path)
    context = browser.new_context(offline=True, color_scheme="dark", viewport={"width": 360, "height": 640})
    page = context.new_page()
    complaints, asked = [], []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    page.goto((tmp_path / "models" / "report.html").as_uri())
    assert "Can the model be trusted?" in page.inner_text("main")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.evaluate(AXE.read_text())
    assert [one for one in page.evaluate(LOOK) if one[0] in ("serious", "critical")] == []
    context.close()
    assert complaints == [] and all(url.startswith(("file:", "data:,")) for url in asked)


def names_of(seen):
    return [one.inner_text() for one in seen.page.locator(".clients .name").all()]


def test_the_list_opens_with_whom_to_call_first_and_why(browser, addresses):
    with Watched(browser, addresses["one"]) as seen:
        assert len(names_of(seen)) == 25
        assert "1 to 25 of" in seen.page.get_by_role("status").inner_text()
        first = seen.page.locator(".clients > li").first
        assert (
            first.locator(".rank").inner_text() == "1" and "usually" in first.locator(".because").inner_text()
        )


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without"])
def test_a_client_is_found_by_a_part_of_its_name(browser, addresses, scripts):
    with Watched(browser, addresses["one"], java_script_enabled=scripts) as seen:
        seen.page.get_by_label("Name or id contains").fill("T-A-7")
        seen.follow(seen.page.get_by_role("button", name="Show").click)
        found = names_of(seen)
        assert found and all("t-a-7" in name for name in found)
        assert "found among" in seen.page.get_by_role("status").inner_text()
        assert seen.page.get_by_label("Name or id contains").input_value() == "T-A-7"


def test_whom_nobody_is_like_is_said_and_not_an_empty_page(browser, addresses):
    with Watched(browser, addresses["one"]) as seen:
        seen.page.get_by_label("Name or id contains").fill("<b>nobody</b>")
        seen.follow(lambda: seen.page.keyboard.press("Enter"))
        assert "None of" in seen.page.get_by_role("status").inner_text() and names_of(seen) == []


def test_the_list_is_sorted_filtered_and_paged(browser, addresses):
    with Watched(browser, addresses["one"]) as seen:
        seen.page.get_by_label("Order").select_option("by name")
        seen.follow(seen.page.get_by_role("button", name="Show").click)
        first = names_of(seen)
        assert first == sorted(first)
        seen.follow(seen.page.get_by_role("link", name="Next clients").click)
        second = names_of(seen)
        assert second == sorted(second) and first[-1] < second[0]
        seen.follow(seen.page.get_by_role("link", name="Previous clients").click)
        assert names_of(seen) == first
        seen.page.get_by_label("Risk", exact=True).select_option("low")
        seen.follow(seen.page.get_by_role("button", name="Show").click)
        risks = {one.inner_text().split()[2] for one in seen.page.locator(".clients .chance").all()}
        assert risks == {"low"}


def test_who_moved_up_most_comes_first_where_asked(browser, addresses):
    with Watched(browser, addresses["more"]) as seen:
        seen.page.get_by_label("Order").select_option("moved up most first")
        seen.follow(seen.page.get_by_role("button", name="Show").click)
        moves = [one.inner_text() for one in seen.page.locator(".clients .place").all()]
        ups = [int(move.split()[0].replace(",", "")) for move in moves if move.endswith("up")]
        assert len(ups) == len(moves) and ups == sorted(ups, reverse=True)
