"""Everything that people and scripts can do, in one place."""

from skep.configserver.editing.access import AccessEditor
from skep.configserver.editing.branching import BranchEditor
from skep.configserver.editing.catalogue import Catalogue
from skep.configserver.editing.editor_view import EditorView
from skep.configserver.editing.items import ItemEditor
from skep.configserver.editing.policies import PolicyEditor
from skep.configserver.editing.publish_requests import PublishRequests
from skep.configserver.editing.publishing import Publisher
from skep.configserver.model.limits import EditorLimits
from skep.configserver.storage.database import ConfigDatabase


class EditingDesk:
    """The acts on one open file. They are synchronous: writes belong in a `WriterThread`, what
    `view` reads may be called in the event loop."""

    def __init__(self, database: ConfigDatabase, limits: EditorLimits | None = None) -> None:
        self.database = database
        self.items = ItemEditor(database, limits)
        self.publisher = Publisher(database)
        self.branches = BranchEditor(database)
        self.catalogue = Catalogue(database)
        self.access = AccessEditor(database)
        self.policies = PolicyEditor(database)
        self.requests = PublishRequests(database)
        self.view = EditorView(database)
