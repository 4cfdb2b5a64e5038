"""The clean-up's pages: what there is to do, and the near duplicates."""

from memories.cleanup.admin.duplicates import DuplicateAdmin as DuplicateAdmin
