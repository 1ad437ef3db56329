"""Generates Vesper's wire, client, server and tests from the Vulkan registry."""
