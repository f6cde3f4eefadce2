"""Django's own command line, for whoever wants to look around by hand."""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_under_test.settings")
    execute_from_command_line(sys.argv)
