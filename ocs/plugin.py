"""The agents that come with ocs, as ``ocs-agent-cli`` and others' plugins would list them."""

__all__ = ["agents", "package_name"]

package_name = "ocs"
agents = {
    "RegistryAgent": {"module": "ocs.agents.registry.agent", "entry_point": "main"},
    "AggregatorAgent": {"module": "ocs.agents.aggregator.agent", "entry_point": "main"},
    "FakeDataAgent": {"module": "ocs.agents.fake_data.agent", "entry_point": "main"},
    "HostManager": {"module": "ocs.agents.host_manager.agent", "entry_point": "main"},
    "PysmurfMonitor": {"module": "ocs.agents.pysmurf_monitor.agent", "entry_point": "main"},
    "InfluxDBAgent": {"module": "ocs.agents.influxdb_publisher.agent", "entry_point": "main"},
    "InfluxDBAgentv2": {"module": "ocs.agents.influxdb_publisher_v2.agent", "entry_point": "main"},
    "SequenceComponent": {"module": "ocs.agents.sequence_component.agent", "entry_point": "main"},
    "SequenceManager": {"module": "ocs.agents.sequence_manager.agent", "entry_point": "main"},
    "SpawnAgent": {"module": "ocs.agents.spawn_agent.agent", "entry_point": "main"},
    "PrometheusExporter": {"module": "ocs.agents.prometheus_exporter.agent", "entry_point": "main"},
    "AccessDirector": {"module": "ocs.agents.access_director.agent", "entry_point": "main"},
    "WatcherAgent": {"module": "ocs.agents.watcher.agent", "entry_point": "main"},
    "BarebonesAgent": {"module": "ocs.agents.barebones.agent", "entry_point": "main"},
}
