"""The public names of the agents' side, with their arguments and defaults: existing agents import and call them."""

import importlib
import inspect
from pathlib import Path

import pytest

import ocs

REQUIRED = inspect.Parameter.empty

# Where the contract has a mutable default ({} or []), ours is a value that means the same.
SIGNATURES = {
    "ocs.ocs_agent:init_site_agent": {"args": REQUIRED, "address": None},
    "ocs.ocs_agent:OCSAgent": {"config": REQUIRED, "site_args": REQUIRED, "address": None, "class_name": None},
    "ocs.ocs_agent:OCSAgent.register_task": {
        "name": REQUIRED, "func": REQUIRED, "aborter": None, "blocking": True, "aborter_blocking": None,
        "startup": False, "min_privs": 0,
    },
    "ocs.ocs_agent:OCSAgent.register_process": {
        "name": REQUIRED, "start_func": REQUIRED, "stop_func": REQUIRED, "blocking": True, "stopper_blocking": None,
        "startup": False, "min_privs": 0,
    },
    "ocs.ocs_agent:OCSAgent.register_feed": {
        "feed_name": REQUIRED, "record": False, "agg_params": None, "buffer_time": 0, "max_messages": 0,
    },
    "ocs.ocs_agent:OCSAgent.publish_to_feed": {"feed_name": REQUIRED, "message": REQUIRED, "from_reactor": None},
    "ocs.ocs_agent:OCSAgent.subscribe": {
        "handler": REQUIRED, "topic": REQUIRED, "options": None, "force_subscribe": False,
    },
    "ocs.ocs_agent:OCSAgent.subscribe_to_feed": {
        "agent_addr": REQUIRED, "feed_name": REQUIRED, "handler": REQUIRED, "options": None, "force_subscribe": False,
    },
    "ocs.ocs_agent:OCSAgent.subscribe_on_start": {
        "handler": REQUIRED, "topic": REQUIRED, "options": None, "force_subscribe": None,
    },
    "ocs.ocs_agent:OCSAgent.start": {"op_name": REQUIRED, "params": None, "password": None},
    "ocs.ocs_agent:OCSAgent.stop": {"op_name": REQUIRED, "params": None, "password": None},
    "ocs.ocs_agent:OCSAgent.abort": {"op_name": REQUIRED, "params": None, "password": None},
    "ocs.ocs_agent:OCSAgent.status": {"op_name": REQUIRED, "params": None, "password": None},
    "ocs.ocs_agent:OCSAgent.wait": {"op_name": REQUIRED, "timeout": None, "password": None},
    "ocs.ocs_agent:OCSAgent.call_op": {
        "agent_address": REQUIRED, "op_name": REQUIRED, "action": REQUIRED, "params": None, "timeout": None,
    },
    "ocs.ocs_agent:OCSAgent.encoded": {},
    "ocs.ocs_agent:OpSession": {
        "session_id": REQUIRED, "op_name": REQUIRED, "status": "starting", "app": None, "purge_policy": None,
        "cred_level": 1,
    },
    "ocs.ocs_agent:OpSession.set_status": {"status": REQUIRED, "timestamp": None},
    "ocs.ocs_agent:OpSession.add_message": {"message": REQUIRED, "timestamp": None},
    "ocs.ocs_agent:OpSession.encoded": {},
    "ocs.ocs_agent:OpSession.purge_log": {},
    "ocs.ocs_agent:AgentTask.encoded": {},
    "ocs.ocs_agent:AgentProcess.encoded": {},
    "ocs.ocs_agent:log_formatter": {"event": REQUIRED},
    "ocs.ocs_agent:ParamError": {"msg": REQUIRED},
    "ocs.ocs_agent:ParamHandler": {"params": REQUIRED},
    "ocs.ocs_agent:ParamHandler.batch": {"instructions": REQUIRED, "check_for_strays": True},
    "ocs.ocs_agent:ParamHandler.check_for_strays": {"ignore": ()},
    "ocs.ocs_feed:Block": {"name": REQUIRED, "keys": REQUIRED},
    "ocs.ocs_feed:Block.append": {"d": REQUIRED},
    "ocs.ocs_feed:Block.extend": {"block": REQUIRED},
    "ocs.ocs_feed:Block.empty": {},
    "ocs.ocs_feed:Block.clear": {},
    "ocs.ocs_feed:Block.encoded": {},
    "ocs.ocs_feed:Feed": {
        "agent": REQUIRED, "feed_name": REQUIRED, "record": False, "agg_params": None, "buffer_time": 0,
        "max_messages": 0,
    },
    "ocs.ocs_feed:Feed.publish_message": {"message": REQUIRED, "timestamp": None},
    "ocs.ocs_feed:Feed.flush_buffer": {},
    "ocs.ocs_feed:Feed.encoded": {},
    "ocs.ocs_feed:Feed.verify_message_data_type": {"value": REQUIRED},
    "ocs.ocs_feed:Feed.verify_data_field_string": {"field": REQUIRED},
    "ocs.ocs_feed:Feed.enforce_field_name_rules": {"name": REQUIRED},
    "ocs.agents.host_manager.drivers:AgentProcessHelper": {"instance_id": REQUIRED, "cmd": REQUIRED},
    "ocs.agents.host_manager.drivers:DockerContainerHelper": {"service": REQUIRED, "docker_bin": None},
    "ocs.agents.host_manager.drivers:parse_docker_state": {"docker_compose_file": REQUIRED},
    "ocs.agents.host_manager.drivers:resolve_child_state": {"minst": REQUIRED},
    "ocs.agents.host_manager.drivers:stability_factor": {"times": REQUIRED, "window": 120},
    "ocs.agents.access_director.agent:AccessDirector": {"agent": REQUIRED, "config_file": REQUIRED},
    "ocs.agents.access_director.agent:make_parser": {"parser": None},
    "ocs.agents.access_director.agent:main": {"args": None},
    "ocs.agents.host_manager.agent:HostManager": {
        "agent": REQUIRED, "docker_composes": (), "docker_service_prefix": "ocs-",
    },
    "ocs.agents.host_manager.drivers:ManagedInstance": {
        "management": REQUIRED, "agent_class": REQUIRED, "instance_id": REQUIRED, "full_name": REQUIRED,
        "operable": False, "retired": False, "passive_tracking": False, "agent_script": None, "prot": None,
        "restart_required": False, "target_state": "down", "next_action": "down", "at": 0,
    },
    "ocs.ocs_twisted:TimeoutLock": {"default_timeout": 0},
    "ocs.ocs_twisted:TimeoutLock.acquire": {"timeout": None, "job": None},
    "ocs.ocs_twisted:TimeoutLock.release": {},
    "ocs.ocs_twisted:TimeoutLock.release_and_acquire": {"timeout": None},
    "ocs.ocs_twisted:TimeoutLock.acquire_timeout": {"timeout": None, "job": "unnamed"},
    "ocs.ocs_twisted:Pacemaker": {"sample_freq": REQUIRED, "quantize": False},
    "ocs.ocs_twisted:Pacemaker.sleep": {},
    "ocs.ocs_twisted:Pacemaker.dsleep": {},
    "ocs.ocs_twisted:in_reactor_context": {},
}  # fmt: skip


def look_up(path):
    module, _, name = path.partition(":")
    thing = importlib.import_module(module)
    for part in name.split("."):
        thing = getattr(thing, part)
    return thing


def arguments(thing):
    return {name: each for name, each in inspect.signature(thing).parameters.items() if name != "self"}


@pytest.mark.parametrize("path", SIGNATURES)
def test_a_public_callable_takes_what_existing_code_gives(path):
    expected, found = SIGNATURES[path], arguments(look_up(path))
    # In the same order, since they may be given by position; more may follow if they have a default.
    assert list(found)[: len(expected)] == list(expected)
    assert {name: found[name].default for name in expected} == expected
    assert all(each.default is not REQUIRED for name, each in found.items() if name not in expected)


def test_param_handler_get_has_its_checks_in_order():
    names = ["key", "default", "check", "cast", "type", "choices", "treat_none_as_missing"]
    found = arguments(look_up("ocs.ocs_agent:ParamHandler.get"))
    assert list(found) == names
    assert found["treat_none_as_missing"].default is True
    assert all(found[name].default is None for name in ("check", "cast", "type", "choices"))


def test_param_takes_the_keywords_of_get():
    from ocs.ocs_agent import param

    assert list(arguments(param)) == ["key", "keywords"]
    for keyword in ("default", "check", "cast", "type", "choices", "treat_none_as_missing"):
        param("x", **{keyword: None})


@pytest.mark.parametrize("module", ["ocs", "ocs.base"])
def test_the_codes_have_their_values(module):
    found = importlib.import_module(module)
    assert (found.OK, found.ERROR, found.TIMEOUT) == (0, -1, 1)
    assert {code.name: code.value for code in found.ResponseCode} == {"OK": 0, "ERROR": -1, "TIMEOUT": 1}
    assert [code.name for code in sorted(found.OpCode)] == [
        "NONE", "STARTING", "RUNNING", "STOPPING", "SUCCEEDED", "FAILED", "EXPIRED", "DEGRADED",
    ]  # fmt: skip
    assert [code.value for code in sorted(found.OpCode)] == list(range(1, 9))


def test_the_package_has_a_version_and_site_config():
    assert ocs.__version__
    assert ocs.site_config.parse_args


def test_the_status_codes_are_those_that_agents_look_up():
    assert look_up("ocs.ocs_agent:SESSION_STATUS_CODES") == [None, "starting", "running", "stopping", "done"]


def modules_with_public_names():
    """All modules of the package that say what they offer."""
    root = Path(ocs.__file__).parent
    names = [".".join(("ocs", *path.relative_to(root).with_suffix("").parts)) for path in sorted(root.rglob("*.py"))]
    return [name for name in names if not name.endswith("__init__")]


@pytest.mark.parametrize("module", modules_with_public_names())
def test_what_a_module_offers_is_there(module):
    found = importlib.import_module(module)
    assert found.__doc__
    assert found.__all__
    for name in found.__all__:
        assert hasattr(found, name)


def test_operations_keep_what_existing_code_reads_of_them():
    from ocs.ocs_agent import AgentProcess, AgentTask

    def launcher(session, params):
        """Do it."""

    for op in (AgentTask(launcher), AgentProcess(launcher, launcher)):
        assert op.docstring == "Do it."
        assert op.min_privs == 1
        assert op.launcher is launcher


def test_a_session_has_what_operations_use():
    session = look_up("ocs.ocs_agent:OpSession")(1, "acq")
    for name in ("data", "degraded", "success", "status", "messages", "start_time", "end_time", "app", "op_code",
                 "cred_level"):  # fmt: skip
        assert hasattr(session, name)
    assert isinstance(session.messages, list)
