# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What others may have put into the service's database."""

# What a DBA or another tool may have put into the service's database: what the administrator runs to plant it, what
# takes it away again, and a question whose answer is the same for as long as it is there.
PLANTS = {
    "a large object": (
        "SELECT lo_from_bytea(4711, 'kept'); ALTER LARGE OBJECT 4711 OWNER TO rstudio_pm",
        "SELECT lo_unlink(4711)",
        "SELECT convert_from(lo_get(4711), 'UTF8')",
    ),
    "a view of another role": (
        "CREATE ROLE reporting; CREATE SCHEMA reports AUTHORIZATION reporting; GRANT SELECT ON repos TO reporting; "
        "CREATE VIEW reports.repo_names AS SELECT name FROM public.repos; "
        "ALTER VIEW reports.repo_names OWNER TO reporting",
        "DROP SCHEMA reports CASCADE; DROP OWNED BY reporting; DROP ROLE reporting",
        "SELECT viewowner FROM pg_views WHERE viewname = 'repo_names'",
    ),
    "a publication": (
        "CREATE PUBLICATION standby FOR ALL TABLES",
        "DROP PUBLICATION standby",
        "SELECT pubname FROM pg_publication",
    ),
}
