"""The agent service's page in a real browser: what an operator sees, and can do with it."""

import json

import pytest

from tests.harness import naughty_component
from tests.harness.browser import browser
from tests.harness.processes import runs
from tests.harness.serving import start_service
from tests.harness.spawning import spawning_machine
from tests.harness.waiting import wait_for

BY_CSS = "css selector"


class Page:
    """The page, as an operator handles it."""

    def __init__(self, driver, service):
        self.driver = driver
        driver.get(f"{service.url}/docs")

    def sign_in(self, token):
        self.driver.find_element(BY_CSS, "#token").send_keys(token)

    def send(self, kind, **fields):
        """Send a request with other values than the example's; return the answer that is shown."""
        field = self.driver.find_element(BY_CSS, f"textarea[aria-label={kind}]")
        request = {**json.loads(field.get_property("value")), **fields}
        field.clear()
        field.send_keys(json.dumps(request))
        section = field.find_element("xpath", "..")
        section.find_element(BY_CSS, "button").click()
        return wait_for(lambda: (text := section.find_element(BY_CSS, "pre").text) != "..." and text, timeout=30)

    def complaints(self):
        """What the browser takes for a fault of the page; that it has no icon is none."""
        lines = [line["message"] for line in self.driver.get_log("browser") if line["level"] == "SEVERE"]
        return [line for line in lines if "favicon" not in line]


@pytest.fixture
def machine(site, run_agent, tmp_path):
    with spawning_machine(site, run_agent, naughty_component.install(tmp_path / "plugins"), "machine1") as made:
        yield made


@pytest.fixture
def service(site, run_agent, machine):
    made = start_service(run_agent, site)
    made.wait_for_machines("ESW.machine1")
    return made


@pytest.fixture
def page(service, tmp_path):
    with browser(tmp_path / "browser") as driver:
        yield Page(driver, service)


def test_an_operator_with_the_role_brings_a_component_to_life_and_ends_it(page, service, machine):
    page.sign_in(service.token("esw-user"))
    assert '"Spawned"' in page.send("SpawnSequenceComponent", agentPrefix="ESW.machine1", componentName="good")
    assert "ESW.good" in page.send("GetAgentStatus")
    target = {"prefix": "ESW.good", "componentType": "SequenceComponent"}
    assert '"Killed"' in page.send("KillComponent", componentId=target)
    assert not any(runs(pid) for pid in machine.pids("good"))
    assert page.complaints() == []


def test_without_a_token_the_page_shows_the_refusal(page):
    shown = page.send("SpawnSequenceComponent", agentPrefix="ESW.machine1", componentName="good")
    assert shown.startswith("401")
    assert "needs a token" in shown


def test_what_others_have_named_is_shown_as_text(page, service):
    page.sign_in(service.token("esw-user"))
    name = "good-<img src=x onerror=alert(1)>"
    page.send("SpawnSequenceComponent", agentPrefix="ESW.machine1", componentName=name)
    assert name in page.send("GetAgentStatus")
    assert page.driver.find_elements(BY_CSS, "img") == []
