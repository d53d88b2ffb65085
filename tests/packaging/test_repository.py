"""What the repository's forms and workflows name is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
HOOKS = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
CLASSIFIERS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["classifiers"]


def test_the_workflow_is_one_that_github_can_run():
    workflow = yaml.safe_load(WORKFLOW)
    # YAML reads the key "on" as true.
    assert {"push", "pull_request"} <= workflow[True].keys()
    assert workflow["permissions"] == {"contents": "read"}
    assert {"lint", "docs", "python", "postgres", "docker", "soak", "wheel"} <= workflow["jobs"].keys()
    for name, job in workflow["jobs"].items():
        matrix = job.get("strategy", {}).get("matrix", {})
        used = set(re.findall(r"\$\{\{ *matrix\.(\w+) *\}\}", yaml.safe_dump(job)))
        assert used == matrix.keys(), name
        assert all(isinstance(one, str) for values in matrix.values() for one in values), name
        assert re.fullmatch(r"ubuntu-\d\d\.04", job["runs-on"]), name
        assert not job.keys() - {
            "runs-on",
            "steps",
            "strategy",
            "services",
            "env",
            "timeout-minutes",
            "needs",
            "if",
        }, name
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step), (name, step)
            assert not step.keys() - {"uses", "run", "with", "env", "name", "if"}, (name, step)
            assert "uses" not in step or re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step["uses"]), (name, step)
        assert job["steps"][0]["uses"].startswith("actions/checkout@"), name


@pytest.mark.parametrize("name", ["bug.yml", "idea.yml", "message.yml"])
def test_a_form_for_issues_has_what_github_wants(name):
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / name).read_text(encoding="utf-8"))

    assert {"name", "description", "body"} <= form.keys()
    ids = [field["id"] for field in form["body"] if field["type"] != "markdown"]
    assert ids
    assert len(ids) == len(set(ids))
    assert {field["type"] for field in form["body"]} <= {
        "markdown",
        "textarea",
        "input",
        "dropdown",
        "checkboxes",
    }


@pytest.mark.parametrize("text", [WORKFLOW, HOOKS], ids=["workflow", "hooks"])
def test_every_target_of_make_that_it_calls_exists(text):
    called = set(re.findall(r"\bmake ([a-z]+)", text))
    assert called
    assert called <= TARGETS


def test_every_test_folder_that_the_workflow_runs_exists():
    folders = re.findall(r"\btests/[\w/]+", WORKFLOW)
    assert folders
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []


def test_the_workflow_tries_every_python_that_the_package_says_it_is_for():
    tried = re.search(r"python: (\[.*\])", WORKFLOW)
    assert tried is not None
    offered = [name.rpartition(" ")[2] for name in CLASSIFIERS if re.search(r":: 3\.\d+$", name)]
    assert offered == re.findall(r"\d\.\d+", tried[1])


def test_the_changelog_has_the_version_of_the_package_or_what_is_not_released():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert re.search(rf"^## (Unreleased|{re.escape(version)}\b)", changelog, re.MULTILINE)


def test_docker_compose_migrates_a_healthy_database_before_the_service_starts():
    services = COMPOSE["services"]

    assert services["migrate"]["depends_on"] == {"db": {"condition": "service_healthy"}}
    assert services["desk"]["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    assert set(COMPOSE["volumes"]) == {
        name.partition(":")[0] for of in services.values() for name in of.get("volumes", ())
    }
    assert [
        port for of in services.values() for port in of.get("ports", ()) if "127.0.0.1:" not in port
    ] == []


def test_what_docker_compose_copies_is_there_and_enough_for_a_wheel():
    steps = COMPOSE["services"]["desk"]["build"]["dockerfile_inline"].splitlines()
    copied = {source for step in steps if step.startswith("COPY ") for source in step.split()[1:-1]}
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    hook = wheel["targets"]["wheel"]["hooks"]["custom"]["path"]

    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert {"app", "alembic", "alembic.ini", "pyproject.toml", "README.md", str(Path(hook).parent)} <= copied


def test_docker_compose_sets_every_setting_that_the_service_cannot_do_without():
    source = (ROOT / "examples" / "fastapi_sync" / "sync_desk.py").read_text(encoding="utf-8")
    needed = re.findall(r"^    (\w+): str(?:  #.*)?$", source, re.MULTILINE)
    environment = COMPOSE["services"]["desk"]["environment"]

    assert "public_url" in needed
    assert {f"DESK_{name.upper()}" for name in needed} <= set(environment)
