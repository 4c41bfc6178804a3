"""
Argo CD and the root application, put into a new cluster once; from there on Git drives.

Knows the folder gitops/bootstrap and nothing of what is in it. Run by `make infra-bootstrap ENV=dev`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from infra.terraform import DeployError

CRD = "crd/applications.argoproj.io"
WAIT_SECONDS = 300


def bootstrap(root: Path, cluster: str, region: str, environment: str) -> int:
    """
    Installs what gitops/bootstrap/argocd says, waits for it, then hands over gitops/bootstrap/<environment>.

    Safe to repeat: both are applied on the server's side, and what is there already is left as it is. Raises
    DeployError.
    """
    install, hand_over = root / "gitops/bootstrap/argocd", root / "gitops/bootstrap" / environment
    for needed in (install, hand_over):
        if not (needed / "kustomization.yaml").is_file():
            raise DeployError(f"{needed.relative_to(root)} has no kustomization.yaml: there is nothing to bootstrap")
    for program in ("aws", "kubectl"):
        if shutil.which(program) is None:
            raise DeployError(f"{program} is not on the PATH, and signs in to the cluster: install it")
    # In a file of its own, so that the caller's contexts stay as they are.
    with tempfile.TemporaryDirectory(prefix="adloom-kubeconfig-") as folder:
        environ = {**os.environ, "KUBECONFIG": f"{folder}/config"}
        _run(["aws", "eks", "update-kubeconfig", "--name", cluster, "--region", region], environ)
        apply = ["kubectl", "apply", "--server-side", "--force-conflicts", "-k"]
        _run([*apply, str(install)], environ)
        _run(["kubectl", "wait", "--for=condition=Established", CRD, f"--timeout={WAIT_SECONDS}s"], environ)
        ready = ["kubectl", "-n", "argocd", "wait", "--for=condition=Available", "deployment", "--all"]
        _run([*ready, f"--timeout={WAIT_SECONDS}s"], environ)
        _run([*apply, str(hand_over)], environ)
    print(f"==> {cluster} follows Git from here on")
    return 0


def _run(command: Sequence[str], environ: dict[str, str]) -> None:
    print(f"==> {' '.join(command[:4])}")
    done = subprocess.run(command, env=environ, check=False)
    if done.returncode != 0:
        raise DeployError(f"{command[0]} failed: what it said stands above; the same command goes on from there")
