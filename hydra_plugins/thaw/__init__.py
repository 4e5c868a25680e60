"""Register Thaw's resolvers. Hydra imports this module by itself when it composes conf/."""

from thaw.resolvers import register

register()
