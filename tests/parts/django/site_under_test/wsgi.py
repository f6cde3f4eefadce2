"""The application object that a WSGI server takes."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_under_test.settings")
application = get_wsgi_application()
