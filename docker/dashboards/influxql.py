"""A question to InfluxDB in Grafana's form, which the foundation SDK has no model of."""

from typing import Any, Self

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.runtime import DataqueryConfig, register_dataquery_variant
from grafana_foundation_sdk.cog.variants import Dataquery

__all__ = ["InfluxQuery", "InfluxQueryBuilder"]


class InfluxQuery(Dataquery):
    """A query as it is written, not clicked together.

    Args:
        query: in InfluxQL.
        ref_id: by which expressions and transformations refer to it.
        alias: what a series is called: `$m` its measurement, `$col` its column.
        result_format: "time_series" or "table".
    """

    def __init__(self, query: str, ref_id: str = "A", alias: str = "", result_format: str = "time_series") -> None:
        self.query = query
        self.ref_id = ref_id
        self.alias = alias
        self.result_format = result_format

    def to_json(self) -> dict[str, object]:
        """Return it as Grafana keeps it."""
        return {
            "alias": self.alias,
            "query": self.query,
            "rawQuery": True,
            "refId": self.ref_id,
            "resultFormat": self.result_format,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Read it back.

        Raises:
            KeyError: if something is missing.
            ValueError: if there is anything else.
        """
        query = cls(data["query"], data["refId"], data["alias"], data["resultFormat"])
        if query.to_json() != {key: value for key, value in data.items() if key != "datasource"}:
            raise ValueError(f"not a query to InfluxDB as it is written here: {data}")
        return query


class InfluxQueryBuilder(Builder[InfluxQuery]):
    """Hands a query to the SDK's builders."""

    def __init__(self, query: InfluxQuery) -> None:
        self._query = query

    def build(self) -> InfluxQuery:
        """Return it."""
        return self._query


register_dataquery_variant(DataqueryConfig("influxdb", InfluxQuery.from_json))
