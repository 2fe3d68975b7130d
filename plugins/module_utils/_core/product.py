# Copyright (c) 2026, the rspm.ha authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The product's names on a host. Source: the vendor's page on installation."""

from __future__ import annotations

UNIT = "rstudio-pm.service"
ACCOUNT = "rstudio-pm"
BINARY = "/opt/rstudio-pm/bin/rstudio-pm"
