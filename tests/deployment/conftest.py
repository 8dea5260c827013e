"""Images, built once a run with a real engine."""

import pytest

from tests.deployment.building import BASE, Deployment, build_images, copy_sources, make_base, make_wheels


@pytest.fixture(scope="session")
def images(docker_engine, tmp_path_factory) -> dict[str, str]:
    """The environment for an engine that has this version's images."""
    compose_folder = copy_sources(tmp_path_factory.mktemp("images"))
    env = {**docker_engine.env, "BASE": BASE, "PIP_OPTIONS": "--no-index --find-links /wheels"}
    env["COMPOSE_PROFILES"] = ""  # what it asks for cannot be pulled
    build = Deployment(compose_folder, env)
    make_wheels(compose_folder / "wheels")
    make_base(build)
    build_images(build)
    return env
