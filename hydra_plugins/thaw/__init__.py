"""Register Thaw's resolvers. Hydra imports this module when it composes conf/."""

from thaw.resolvers import register

register()
