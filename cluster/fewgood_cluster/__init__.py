"""Clusters: templates for `ray up`, KubeRay and Docker, their checks, and a local cluster of real hosts for tests."""
