"""The rooms behind `ocs.ocs_client`, `ocs.client_http`, `ocs.client_t` and `ocs.client_cli`."""
