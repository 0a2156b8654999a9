Pools that name no endpoint share those of the pool `default`; a pool that no endpoint or no route leads to is a mistake.
