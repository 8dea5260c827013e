"""Is many components at once, as real agents would be: spawn agents, their sequence components, and sequencers."""

import sys

from session import connect, say

ROOT = "observatory"


def describing(component_type, prefix, **metadata):
    """What answers for a component, and the procedure that it is registered as."""
    words = {"prefix": prefix, "componentType": component_type, "metadata": {"pid": 4711, "host": "h", **metadata}}
    return lambda: words, f"{ROOT}.components.{component_type}.{prefix}"


async def be(session, machines, each):
    for machine in range(machines):
        agent = f"ESW.machine{machine}"
        await session.register(*describing("Machine", agent, address=f"{ROOT}.spawner-{machine}"))
        for number in range(each):
            name = f"ESW.seq{machine}_{number}"
            await session.register(*describing("SequenceComponent", name, agentPrefix=agent))
            if number % 2:
                mode = f"ESW.mode{machine}_{number}"
                await session.register(*describing("Sequencer", mode, sequenceComponent=name))
    say(ready=True)


if __name__ == "__main__":
    connect(sys.argv[1], lambda session: be(session, int(sys.argv[2]), int(sys.argv[3])))
