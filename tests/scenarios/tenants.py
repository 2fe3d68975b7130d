"""Others on the shared machines, who were there before the cluster and must not notice it.

A web site behind the load balancer's HAProxy, an archive on the NFS server that the load balancer's machine reads, an
application on the database server, and a monitoring that has sessions open in all databases. Their clients are here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import psycopg2
from rspm_lab.lab import Lab

from tests.scenarios.support import address, get, short

# Where there are some.
SCENARIOS = ("cluster", "upgrade", "migrate")
PORT = 8088
OURS = ("rstudio_pm", "rstudio_pm_usage")
PASSWORD = "theirs"
HBA = "/etc/postgresql/15/main/pg_hba.conf"

# Nobody of the nodes' rack may log in, so the cluster's own rules have to stand before that and move nothing else.
_ON_INFRA = """
set -e; umask 022
[ ! -e /root/pg_hba.theirs ] || exit 0
cat > /etc/postgresql/15/main/conf.d/theirs.conf <<END
max_connections = 500
listen_addresses = '{infra}'
log_connections = on
END
sed -i '1i host all all {rack} reject' {hba}
cat >> {hba} <<END
host payroll payroll {client}/32 scram-sha-256
host all exporter {client}/32 scram-sha-256
END
cp -p {hba} /root/pg_hba.theirs
systemctl enable -q --now postgresql
systemctl restart postgresql@15-main
cd /
su postgres -c 'psql -q -v ON_ERROR_STOP=1' <<END
CREATE ROLE payroll LOGIN PASSWORD '{password}';
CREATE DATABASE payroll OWNER payroll;
CREATE ROLE exporter LOGIN PASSWORD '{password}' IN ROLE pg_monitor;
\\c payroll
SET ROLE payroll;
CREATE TABLE wages (id serial PRIMARY KEY, who text, amount numeric);
INSERT INTO wages (who, amount) SELECT 'person ' || g, g * 100.5 FROM generate_series(1, 500) AS g;
END
mkdir -p /srv/archive/2025
seq 1 5000 > /srv/archive/2025/letters
chown -R games:games /srv/archive
echo '/srv/archive {balancer}(rw,sync,no_subtree_check)' >> /etc/exports
systemctl enable -q --now nfs-server
exportfs -ra
"""
_ON_BALANCER = """
set -e; umask 022
[ ! -e /srv/intranet/archive ] || exit 0
mkdir -p /srv/intranet /mnt/archive
echo 'The intranet.' > /srv/intranet/index.html
echo '{infra}:/srv/archive /mnt/archive nfs rw,hard,noac,_netdev 0 0' >> /etc/fstab
systemctl daemon-reload
mount /mnt/archive
ln -s /mnt/archive /srv/intranet/archive
cat > /etc/systemd/system/intranet.service <<END
[Service]
ExecStart=/usr/bin/python3 -m http.server --bind 127.0.0.1 --directory /srv/intranet 8089
DynamicUser=yes
[Install]
WantedBy=multi-user.target
END
cat > /etc/haproxy/haproxy.cfg <<END
# Of the intranet's team.
global
  maxconn 300
  user haproxy
  group haproxy
  stats socket /run/haproxy/admin.sock mode 660 level admin
defaults
  mode http
  timeout connect 2s
  timeout client 7s
  timeout server 7s
frontend intranet
  bind :{port}
  http-response set-header X-Intranet yes
  default_backend intranet
backend intranet
  server static 127.0.0.1:8089
END
systemctl daemon-reload
systemctl enable -q --now intranet haproxy
systemctl restart haproxy
"""
# What they would see with their own eyes; the processes too, for a restart is a pause.
_LOOK_ON_INFRA = """
cat /etc/postgresql/15/main/conf.d/theirs.conf /etc/exports
exportfs -s | grep '^/srv/archive'
cd /srv/archive && find . -printf '%p %u %g %m %s %T@\\n' | sort && sha256sum 2025/letters
systemctl show -p ExecMainStartTimestampMonotonic nfs-server postgresql@15-main
grep -Fxf /root/pg_hba.theirs {hba} | grep .
cd /; su postgres -c 'psql -At' <<END
SELECT name, setting FROM pg_settings
WHERE name IN ('max_connections', 'listen_addresses', 'password_encryption', 'ssl');
SELECT pg_postmaster_start_time();
SELECT rolname, rolsuper, rolcanlogin, rolconnlimit FROM pg_roles WHERE rolname IN ('payroll', 'exporter', 'postgres');
SELECT datname, pg_get_userbyid(datdba), datacl FROM pg_database WHERE datname IN ('payroll', 'postgres', 'template1');
\\c payroll
SELECT count(*), md5(string_agg(wages::text, ',' ORDER BY id)) FROM wages;
END
"""
_LOOK_ON_BALANCER = """
cat /etc/haproxy/haproxy.cfg
stat -c '%n %U %G %a %Y' /etc/haproxy/haproxy.cfg
systemctl show -p MainPID,ActiveState,UnitFileState haproxy intranet
findmnt -n /mnt/archive
"""


def move_in(lab: Lab) -> None:
    """Have them on the machines, where they are not yet."""
    words = {"infra": address(lab, "infra"), "balancer": address(lab, "lb")}
    subnet = words["infra"].rpartition(".")[0]
    # .11 and on are the lab's machines, .1 is the host with the tests
    words |= {"rack": f"{subnet}.8/29", "client": f"{subnet}.1", "password": PASSWORD, "hba": HBA, "port": str(PORT)}
    lab.ssh("infra", _ON_INFRA.format(**words), timeout=120)
    lab.ssh("lb", _ON_BALANCER.format(**words), timeout=120)


def walk(lab: Lab) -> list[str]:
    """Return, line by line, what they have: files, settings, rules, rows, and what their site answers."""
    lines = [f"infra: {line}" for line in lab.ssh("infra", _LOOK_ON_INFRA.format(hba=HBA)).splitlines()]
    lines += [f"lb: {line}" for line in lab.ssh("lb", _LOOK_ON_BALANCER).splitlines()]
    return [*lines, *(f"site: {path} {get(site(lab), path)!r}" for path in PATHS)]


PATHS = ("/", "/archive/2025/letters")


def site(lab: Lab) -> str:
    """Return where their site is."""
    return f"{address(lab, 'lb')}:{PORT}"


def ask(session: psycopg2.extensions.connection, statement: str) -> list[tuple[Any, ...]]:
    """Return the rows of a statement."""
    with session.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


class Clients:
    """Their clients: each asks several times a second, and remembers what was not as ever. Theirs are sessions too."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._stop = threading.Event()
        self._sessions: dict[str, psycopg2.extensions.connection] = {}
        self.answered = 0
        self.noticed: list[str] = []
        asks = [lambda path=path: self._fetch(path) for path in PATHS] + [self._log_in, self._monitor]
        self._threads = [threading.Thread(target=self._go_on, args=(ask,), daemon=True) for ask in asks]

    def _connect(self, user: str, database: str) -> psycopg2.extensions.connection:
        session = psycopg2.connect(
            host=address(self._lab, "infra"),
            user=user,
            password=PASSWORD,
            dbname=database,
            connect_timeout=5,
            application_name=f"their {user}",
        )
        session.autocommit = True
        return session

    def _fetch(self, path: str) -> None:
        code, body = get(site(self._lab), path)
        assert code == 200 and body, f"{path}: {code}"

    def _log_in(self) -> None:
        with closing(self._connect("payroll", "payroll")) as session:
            found = ask(session, "SELECT count(*) FROM wages")
        assert found == [(500,)], found

    def _monitor(self) -> None:
        """Ask in a session of its own in every database, which is never given up."""
        home = self._session("postgres")
        known = {name for (name,) in ask(home, "SELECT datname FROM pg_database")}
        for name in ("postgres", *(name for name in OURS if name in known)):
            ask(self._session(name), "SELECT count(*) FROM pg_stat_activity, pg_stat_user_tables")

    def _session(self, database: str) -> psycopg2.extensions.connection:
        if database not in self._sessions:
            self._sessions[database] = self._connect("exporter", database)
        return self._sessions[database]

    def _go_on(self, ask: Callable[[], None]) -> None:
        while not self._stop.is_set():
            begun = time.time()
            try:
                ask()
                self.answered += 1
            except (AssertionError, psycopg2.Error) as error:
                self.noticed.append(f"{time.strftime('%H:%M:%S', time.gmtime(begun))} {short(str(error)).strip()}")
                self._sessions = {name: each for name, each in self._sessions.items() if not each.closed}
            self._stop.wait(0.3)

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)
        for session in self._sessions.values():
            with suppress(psycopg2.Error):
                session.close()


@contextmanager
def unnoticed(lab: Lab) -> Iterator[Clients]:
    """See that they had what they have now all the time, and were answered; AssertionError says what they noticed."""
    before = walk(lab)
    with Clients(lab) as clients:
        yield clients
    after = walk(lab)
    assert clients.noticed == []
    assert clients.answered > 10
    gone, new = [line for line in before if line not in after], [line for line in after if line not in before]
    assert after == before, f"gone: {gone}, new: {new}"
