"""The spawn agent: starts and kills components on its machine."""
