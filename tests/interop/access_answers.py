"""Answers cases about access control with the `ocs` that the running interpreter has installed.

Run by test_access_interop.py, once in our interpreter and once in the published package's: reads cases as JSON from
standard input, and writes one answer for each.
"""

import json
import os
import sys
from dataclasses import asdict

from ocs import access


def pattern(target, pattern):
    return [access.pattern_match(target, pattern), access.pattern_match(target, pattern, raw=True)]


def scope(scope, agent):
    spec = access.ScopeSpec(**scope)
    return [spec.check(access.AgentSpec(**agent)), spec.get_specificity()]


def password(name, clear, tries):
    hashed = access.HashedPass.create_from_value(name, clear)
    return [asdict(hashed), [hashed.check(each) for each in tries]]


def policy(policy, passwords):
    rules = access.agent_get_policy_default(policy)
    agent = access.AgentSpec("faker1", "FakeDataAgent")
    levels = [access.agent_get_creds(each, rules, agent)[0] for each in passwords]
    return [rules.policy, rules.director_id, [asdict(rule) for rule in rules.rules], levels]


def creds(rules, agent, passwords):
    agent = access.AgentSpec(**agent)
    made = [access.AccessRule(**rule) for rule in rules]
    in_force = access.AgentAccessRules(policy="director", director_id="d", agent=agent, rules=made)
    judged = [access.agent_get_creds(each, in_force, agent) for each in passwords]
    kept = access.agent_filter_rules(made, agent)
    return [
        [asdict(rule) for rule in made],
        [made.index(rule) for rule in kept],
        [(level, bool(why)) for level, why in judged],
    ]


def director(config):
    parsed = access.director_parse_config(config)
    return [parsed["_hashname"], [asdict(r) for r in parsed["_rules"]], [asdict(b) for b in parsed["_grant_blocks"]]]


def grant(block, owner):
    password, rules = access.director_get_access_rules(access.DistributedAccessGrant(**block), owner)
    fits = [rule.hashed_pass.check(password) and not rule.hashed_pass.check(password + "x") for rule in rules]
    return [fits, [{**asdict(rule), "hashed_pass": rule.hashed_pass.hash} for rule in rules]]


def client(file, privs, agent_class, instance_id):
    os.environ["OCS_PASSWORDS_FILE"] = file
    return access.client_get_password(privs, agent_class, instance_id)


if __name__ == "__main__":
    json.dump([globals()[name](**arguments) for name, arguments in json.load(sys.stdin)], sys.stdout)
