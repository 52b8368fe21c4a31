class Registry:
    """A mapping of class names to classes, filled by a decorator: ``@REGISTRY.register()``."""

    def __init__(self, name):
        self._name = name
        self._obj_map = {}

    def register(self, obj=None, force=False):
        """Register ``obj``, a function or class, by its name; without ``obj``, return a decorator that does.

        Raises:
            KeyError: the name is taken and ``force`` is not set.
        """
        if obj is None:
            return lambda decorated: self.register(decorated, force)
        name = obj.__name__
        if name in self._obj_map and not force:
            raise KeyError(f"{name} is already registered in {self._name}; pass force=True to replace it")
        self._obj_map[name] = obj
        return obj

    def get(self, name):
        """Return what is registered as ``name``; KeyError if nothing is."""
        if name not in self._obj_map:
            raise KeyError(f"{name} is not registered in {self._name}")
        return self._obj_map[name]

    def registered_names(self):
        return list(self._obj_map)
