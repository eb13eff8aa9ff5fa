"""Sensors and outputs, one module for each way they are connected.

A module is imported by those who make its sensors, and pulls in its library then: a box without Modbus does not carry
pymodbus in its memory. `agent.sensors` makes them from the configuration; drivers of others come by `plugins`.
"""
