"""Accounting for a SLURM cluster of tests: a MariaDB and a slurmdbd in the cluster's folder."""
import os
import shutil
import subprocess

from .slurm_cluster import SBIN, Cluster, free_ports

PROGRAMS = ("mariadb-install-db", "mariadbd", "mariadb", "slurmdbd", "sacct", "sacctmgr")
CONF = """
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={port}
AccountingStoragePass={folder}/munge.socket
"""
DBD_CONF = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={port}
SlurmUser=root
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database_port}
StorageUser=slurm
StoragePass=secret
"""


def missing() -> list[str]:
    """Return what there is not to keep accounts with."""
    return [name for name in PROGRAMS if not shutil.which(name, path=f"{os.environ['PATH']}{os.pathsep}{SBIN}")]


class AccountingCluster(Cluster):
    """A cluster that keeps accounts."""

    def __init__(self, folder, nodes: int = 1) -> None:
        self.database_port, port = free_ports(2)
        super().__init__(folder, nodes, more=CONF.format(folder=folder, port=port))
        conf = folder / "slurmdbd.conf"  # slurmdbd looks for it beside slurm.conf
        conf.write_text(DBD_CONF.format(folder=folder, port=port, database_port=self.database_port))
        conf.chmod(0o600)

    def start_accounting(self) -> None:
        data, socket = self.folder / "database", self.folder / "database.socket"
        self.call("mariadb-install-db", "--no-defaults", "--user=root", "--auth-root-authentication-method=normal",
                  "--skip-test-db", f"--datadir={data}")
        self.run_daemon("mariadbd", "--no-defaults", "--user=root", f"--datadir={data}", f"--socket={socket}",
                        f"--port={self.database_port}", "--bind-address=127.0.0.1", f"--pid-file={self.folder}/db.pid",
                        "--innodb-buffer-pool-size=32M")
        self.wait(socket.exists, "database")
        self.call("mariadb", "--no-defaults", "--user=root", f"--socket={socket}", "--execute",
                  "create user slurm@'127.0.0.1' identified by 'secret'; grant all on *.* to slurm@'127.0.0.1'")
        self.run_daemon("slurmdbd", "-D")
        self.wait(lambda: subprocess.run(["sacctmgr", "-i", "add", "cluster", "tests"], env=self.environment,
                                         capture_output=True, timeout=60).returncode == 0, "slurmdbd")
